"""Tasks that clients wait for or follow, in the ledger.

The versions of rows tell which of many tasks have changed: a poll for thousands of them returns
only those. A version is compared for equality and never stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from leaseq.ledger import rows
from leaseq.ledger.arrays import numbers, words
from leaseq.ledger.session import Session
from leaseq.model import AttemptRecord, State


class FollowedTask(Struct, frozen=True, kw_only=True):
    """The part of a task that changes after its submission, and the version of its row."""

    version: str
    task_id: str
    tenant: str
    queue: str
    type: str
    state: State
    attempt: int
    retry_count: int
    created_at: datetime
    run_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None
    erased_at: datetime | None
    worker_id: str | None
    error: bytes | None
    progress: bytes | None
    result: bytes | None


class Change(Struct, frozen=True):
    """A task that has ended, or that was written since an earlier look."""

    task_id: str
    state: State
    version: str


class Changes(Struct, frozen=True):
    """The answer to one look. The next one finds rows that are written after `horizon`."""

    horizon: str
    found: list[Change]


class WrittenTask(Struct, frozen=True, kw_only=True):
    """The part of a task that a view of all tasks shows, and the version of its row."""

    version: str
    task_id: str
    tenant: str
    queue: str
    type: str
    state: State
    attempt: int
    created_at: datetime
    run_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None


class Written(Struct, frozen=True):
    """The tasks that were written since an earlier look, each once, in the order of their ids."""

    horizon: str
    tasks: list[WrittenTask]


_to_written = rows.reader(WrittenTask)
_to_followed = rows.reader(FollowedTask)


class FollowedTasks:
    """Reads tasks for those who wait for them or follow them."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def find_changed(self, ids: str, *, since: str | None) -> Changes:
        """Find the tasks among `ids` (an array as text) that have ended or changed since an earlier
        look; all of them, without `since`."""
        found = await self._session.fetch(
            "find_changed", {"ids": ids, "since": since}, idempotent=True
        )
        changes = [
            Change(task_id, rows.STATES[state], version)
            for _, task_id, state, version in found
            if task_id is not None
        ]
        return Changes(found[0][0], changes)

    async def find_followed(self, task_ids: Sequence[str]) -> dict[str, FollowedTask]:
        """Read tasks by id, of any tenant. Tasks that do not exist are missing."""
        found = await self._session.fetch(
            "find_followed", {"ids": words(task_ids)}, idempotent=True
        )
        return {row.task_id: _to_followed(row) for row in found}

    async def list_written(self, ids: Iterable[str], *, rows: int, since: str | None) -> Written:
        """List the tasks that were written since an earlier look, among the newest `rows` and among
        `ids`; all of these, without `since`."""
        params = {"ids": words(ids), "rows": rows, "since": since}
        found = await self._session.fetch("list_written", params, idempotent=True)
        tasks = {row.task_id: _to_written(row) for row in found if row.task_id is not None}
        return Written(found[0].horizon, [tasks[task_id] for task_id in sorted(tasks)])

    async def list_ends(self, after: Mapping[str, int]) -> dict[str, list[AttemptRecord]]:
        """The attempts that did not succeed, by task and oldest first, above the number that stands
        in `after`."""
        found = await self._session.fetch(
            "list_ends", {"ids": words(after), "after": numbers(after.values())}, idempotent=True
        )
        ends: dict[str, list[AttemptRecord]] = {task_id: [] for task_id in after}
        for row in found:
            ends[row.task_id].append(rows.to_attempt(row))
        return ends


__all__ = ["Change", "Changes", "FollowedTask", "FollowedTasks", "Written", "WrittenTask"]
