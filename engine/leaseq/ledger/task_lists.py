"""Lists of tasks and of their attempts, a page at a time.

Tasks that are FAILED are listed along the dead letters, all others along the tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from leaseq.codec import next_id, tenant_cursor
from leaseq.labels import Labels
from leaseq.ledger import rows
from leaseq.ledger.arrays import quoted
from leaseq.ledger.session import Rows, Session
from leaseq.model import AttemptRecord, Moment, State, TaskSummary

# Tasks that are looked at for one page of a list.
LOOKED_AT = 5000
# Entries of the index of labels that are looked at. Each may cost the look for a task, too.
LABELLED_LOOKED_AT = 500
# Of each tenant at least, where there are many.
LABELLED_SHARE = 20
# Bytes of a payload, a result or a progress that is read for one of many tasks.
MOST_CONTENT = 32_768


class TaskFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which tasks to list; `None` means any. `cursor` is that of the page before."""

    state: State | None = None
    queue: str | None = None
    type: str | None = None
    idempotency_key: str | None = None
    labels: Labels = {}  # a task has all of them
    error: str | None = None  # FAILED tasks whose last failure has this fingerprint
    cursor: str | None = None
    limit: int = 50


class Listing(msgspec.Struct, frozen=True):
    """A page of tasks. With a `cursor` there may be more: the next page begins there, also where
    this one has no tasks."""

    tasks: list[TaskSummary]
    cursor: str | None


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """Payload, result and progress of a task. Not `whole`: a part is so large that it was
    not read."""

    task_id: str
    type: str
    whole: bool
    payload: bytes | None
    result: bytes | None
    progress: bytes | None


class SlowTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task that has ended, and how long its last attempt ran."""

    task_id: str
    state: State
    ran_seconds: float
    finished_at: Moment


class TaskLists:
    """Reads lists from Postgres."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def list_tasks(self, wanted: TaskFilter, *, tenant: str | None) -> Listing:
        """One page of tasks, newest first, from the next `LOOKED_AT` tasks."""
        if wanted.error is not None:
            if wanted.state not in (None, State.FAILED):
                return Listing([], None)
            wanted = replace(wanted, state=State.FAILED)
        if wanted.idempotency_key is not None:
            return await self._list_by_key(wanted, wanted.idempotency_key, tenant=tenant)
        if wanted.labels:
            return await self._list_labelled(wanted, tenant=tenant)
        return await self._list(wanted, tenant=tenant, looked_at=max(LOOKED_AT, wanted.limit + 1))

    async def _list_by_key(self, wanted: TaskFilter, key: str, *, tenant: str | None) -> Listing:
        """At most one task, which is looked up. A key belongs to a tenant, so without one nothing is
        found."""
        for (task_id,) in await self._session.fetch(
            "find_key_task", {"tenant": tenant, "key": key}, idempotent=True
        ):
            if wanted.cursor is None or task_id < wanted.cursor:
                listing = await self._list(
                    replace(wanted, cursor=next_id(task_id)), tenant=tenant, looked_at=1
                )
                return Listing([task for task in listing.tasks if task.task_id == task_id], None)
        return Listing([], None)

    async def _list(self, wanted: TaskFilter, *, tenant: str | None, looked_at: int) -> Listing:
        params = _parameters(wanted, tenant=tenant, looked_at=looked_at)
        if wanted.state is State.FAILED and looked_at > 1:
            del params["state"]
            params["error"] = wanted.error
            found = await self._session.fetch("list_dead_letters", params, idempotent=True)
        else:
            found = await self._session.fetch("list_tasks", params, idempotent=True)
        listing = _page(found, limit=wanted.limit)
        if tenant is None:
            return listing
        shown = listing.tasks[-1].task_id if listing.tasks else None
        return Listing(listing.tasks, tenant_cursor(listing.cursor, shown=shown))

    async def _list_labelled(self, wanted: TaskFilter, *, tenant: str | None) -> Listing:
        """One page of tasks with labels, which are looked up. Its cursor is the id of a task with
        one of these labels."""
        looked_at = max(LABELLED_LOOKED_AT, wanted.limit + 1)
        params = _parameters(wanted, tenant=tenant, looked_at=looked_at)
        params |= _label_parameters(wanted.labels)
        params["error"] = wanted.error
        found = await self._session.fetch("list_labelled", params, idempotent=True)
        return _page(found, limit=wanted.limit)

    async def list_attempts(self, task_id: str, *, tenant: str | None) -> list[AttemptRecord]:
        """The attempts of a task that did not succeed, oldest first."""
        found = await self._session.fetch(
            "list_attempts", {"task_id": task_id, "tenant": tenant}, idempotent=True
        )
        return [rows.to_attempt(row) for row in found]

    async def list_slowest(
        self, type_name: str, *, tenant: str | None, limit: int
    ) -> list[SlowTask]:
        """The tasks of a type that ran longest, among the newest `LOOKED_AT` tasks of all types."""
        params = {"type": type_name, "tenant": tenant, "rows": LOOKED_AT, "limit": limit}
        found = await self._session.fetch("list_slowest", params, idempotent=True)
        return [_to_slow(row) for row in found]

    async def find_contents(
        self, task_ids: Sequence[str], *, tenant: str | None
    ) -> dict[str, Contents]:
        """Payloads, results and progress of a few tasks, by id, where they are small."""
        params = {"ids": quoted(task_ids), "tenant": tenant, "most": MOST_CONTENT}
        found = await self._session.fetch("find_contents", params, idempotent=True)
        return {row.task_id: _to_contents(row) for row in found}


def _parameters(wanted: TaskFilter, *, tenant: str | None, looked_at: int) -> dict[str, Any]:
    return {
        "tenant": tenant,
        "cursor": wanted.cursor,
        "state": wanted.state,
        "queue": wanted.queue,
        "type": wanted.type,
        "rows": looked_at,
        "limit": wanted.limit + 1,  # one more than is shown tells whether there is a next page
    }


def _label_parameters(labels: Labels) -> dict[str, Any]:
    return {
        "names": quoted(labels),
        "values": quoted(labels.values()),
        "share": LABELLED_SHARE,
    }


def _page(found: Rows, *, limit: int) -> Listing:
    tasks = [rows.to_summary(row) for row in found if row.task_id]
    tasks.sort(key=lambda task: task.task_id, reverse=True)
    if len(tasks) > limit:
        return Listing(tasks[:limit], tasks[limit - 1].task_id)
    return Listing(tasks, found[0].cursor)


_to_contents = rows.reader(Contents)
_to_slow = rows.reader(SlowTask)

__all__ = ["Contents", "Listing", "SlowTask", "TaskFilter", "TaskLists"]
