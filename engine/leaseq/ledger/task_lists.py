"""Lists of tasks and of their attempts, a page at a time."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from leaseq.codec import next_id, tenant_cursor
from leaseq.ledger import rows
from leaseq.ledger.session import Session
from leaseq.model import AttemptRecord, State, TaskSummary

# Tasks that are looked at for one page of a list.
LOOKED_AT = 5000


class TaskFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which tasks to list; `None` means any. `cursor` is that of the page before."""

    state: State | None = None
    queue: str | None = None
    type: str | None = None
    idempotency_key: str | None = None
    cursor: str | None = None
    limit: int = 50


class Listing(msgspec.Struct, frozen=True):
    """A page of tasks. With a `cursor` there may be more: the next page begins there, also where
    this one has no tasks."""

    tasks: list[TaskSummary]
    cursor: str | None


class TaskLists:
    """Reads lists from Postgres."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def list_tasks(self, wanted: TaskFilter, *, tenant: str | None) -> Listing:
        """One page of tasks, newest first, from the next `LOOKED_AT` tasks."""
        if wanted.idempotency_key is not None:
            return await self._list_by_key(wanted, wanted.idempotency_key, tenant=tenant)
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
        params: dict[str, Any] = {
            "tenant": tenant,
            "cursor": wanted.cursor,
            "state": wanted.state,
            "queue": wanted.queue,
            "type": wanted.type,
            "rows": looked_at,
            "limit": wanted.limit + 1,  # one more than is shown tells whether there is a next page
        }
        found = await self._session.fetch("list_tasks", params, idempotent=True)
        tasks = [rows.to_summary(row) for row in found if row.task_id]
        tasks.sort(key=lambda task: task.task_id, reverse=True)
        if len(tasks) > wanted.limit:
            return Listing(tasks[: wanted.limit], tasks[wanted.limit - 1].task_id)
        cursor = found[0].cursor
        if tenant is not None:
            cursor = tenant_cursor(cursor, shown=tasks[-1].task_id if tasks else None)
        return Listing(tasks, cursor)

    async def list_attempts(self, task_id: str, *, tenant: str | None) -> list[AttemptRecord]:
        """The attempts of a task that did not succeed, oldest first."""
        found = await self._session.fetch(
            "list_attempts", {"task_id": task_id, "tenant": tenant}, idempotent=True
        )
        return [rows.to_attempt(row) for row in found]


__all__ = ["Listing", "TaskFilter", "TaskLists"]
