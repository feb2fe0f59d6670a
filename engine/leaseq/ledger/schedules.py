"""Schedules in the ledger: their definitions, and the statement that fires them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
import psycopg
from msgspec import Struct

from leaseq.errors import LimitUnknown
from leaseq.ledger.arrays import numbers, quoted, words
from leaseq.ledger.rows import lane, reader
from leaseq.ledger.session import Session
from leaseq.model import Lane
from leaseq.schedules.schedule import (
    KEPT_RUNS,
    KEY_PREFIX,
    Definition,
    DueSchedule,
    Schedule,
)


class Firing(Struct, frozen=True, kw_only=True):
    """The firing of a due schedule: the occurrences that become tasks, oldest first, each with the
    id of its task, and its next time."""

    due: DueSchedule
    ats: list[datetime]
    task_ids: list[str]
    next_at: datetime | None
    next_due: datetime | None
    missed: int


class NextTime(Struct, frozen=True):
    """The right next time of a schedule that was seen with a wrong one."""

    seen: DueSchedule
    next_at: datetime | None
    next_due: datetime | None


class FiredTask(Struct, frozen=True):
    """A task that was created by a schedule. One with a `limit` waits for its permit, and is not pushed."""

    tenant: str
    name: str
    task_id: str
    type: str
    queue: str
    lane: Lane
    limit: str | None


class Fired(Struct, frozen=True, kw_only=True):
    """The result of a batch: its tasks, and the schedules that were taken, by tenant and name.

    `missed` and `skipped` have the number of occurrences of those schedules that have any, and
    `waiting` has the schedules that wait for their last task.
    """

    tasks: list[FiredTask]
    taken: set[tuple[str, str]]
    missed: dict[tuple[str, str], int]
    skipped: dict[tuple[str, str], int]
    waiting: set[tuple[str, str]]


class Run(Struct, frozen=True):
    """The answer to a run by hand. `created` is false if the request came before. A task with a
    `limit` waits for its permit, and is not pushed."""

    task_id: str
    queue: str
    lane: Lane
    type: str
    created: bool
    limit: str | None = None


class UnservedSchedule(Struct, frozen=True):
    """A schedule that code has declared, and whose task type no open worker runs."""

    tenant: str
    name: str
    type: str
    source: str


class ScheduleLedger:
    """The schedules in Postgres."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def find_due(self, *, limit: int) -> list[DueSchedule]:
        """The schedules that are due, the longest due first."""
        found = await self._session.fetch("find_due_schedules", {"limit": limit}, idempotent=True)
        return [_to_due(row) for row in found]

    async def fire(self, firings: Sequence[Firing], *, retention_seconds: float) -> Fired:
        """Create the tasks of these schedules and move their next times, of each in full or not at
        all.

        After an error it is unknown which were fired. To send the same batch again is safe. Raises
        `LimitUnknown` where the limit of one does not exist any more; then none was fired.
        """
        params: dict[str, Any] = {
            "tenants": quoted([one.due.tenant for one in firings]),
            "names": quoted([one.due.name for one in firings]),
            "revisions": words([one.due.revision for one in firings]),
            "wases": _moments([one.due.next_at for one in firings]),
            "nexts": _moments([one.next_at for one in firings]),
            "dues": _moments([one.next_due for one in firings]),
            "missed": numbers([one.missed for one in firings]),
            # newest first
            "ids": quoted([words(one.task_ids[::-1]) for one in firings]),
            "ats": quoted([_moments(one.ats[::-1]) for one in firings]),
            "keys": quoted(
                [words(_key(one.due.name, at) for at in one.ats[::-1]) for one in firings]
            ),
            "retention": retention_seconds,
            "kept": KEPT_RUNS,
        }
        with _limit_known():
            return _fired(await self._session.fetch("fire_schedules", params))

    async def list_zoned(self, *, after: tuple[str, str], limit: int) -> list[DueSchedule]:
        """Schedules whose next time to come depends on the rules of a time zone, behind a position."""
        params = {"after_tenant": after[0], "after_name": after[1], "limit": limit}
        found = await self._session.fetch("list_zoned_schedules", params, idempotent=True)
        return [_to_due(row) for row in found]

    async def refresh(self, changed: Sequence[NextTime]) -> None:
        """Correct the next times of schedules that are still as they were read."""
        params = {
            "tenants": quoted([one.seen.tenant for one in changed]),
            "names": quoted([one.seen.name for one in changed]),
            "revisions": words([one.seen.revision for one in changed]),
            "wases": _moments([one.seen.next_at for one in changed]),
            "nexts": _moments([one.next_at for one in changed]),
            "dues": _moments([one.next_due for one in changed]),
        }
        await self._session.fetch("refresh_schedules", params, idempotent=True)

    async def postpone(self, schedules: Sequence[DueSchedule], *, seconds: float) -> None:
        """Look at these again after so many seconds."""
        params = {
            "tenants": quoted([one.tenant for one in schedules]),
            "names": quoted([one.name for one in schedules]),
            "revisions": words([one.revision for one in schedules]),
            "seconds": seconds,
        }
        await self._session.fetch("postpone_schedules", params, idempotent=True)

    async def find(self, tenant: str, name: str) -> tuple[Schedule | None, datetime]:
        """One schedule, and the time by the clock of Postgres."""
        params = {"tenant": tenant, "name": name}
        (row,) = await self._session.fetch("find_schedule", params, idempotent=True)
        return None if row.name is None else _to_schedule(row), row.now

    async def list_schedules(
        self, *, tenant: str | None, after: tuple[str, str] = ("", ""), limit: int
    ) -> list[Schedule]:
        """Schedules of a tenant (None: of each) by tenant and name, behind a position, without their
        payloads."""
        params = {
            "tenant": tenant,
            "after_tenant": after[0],
            "after_name": after[1],
            "limit": limit,
        }
        found = await self._session.fetch("list_schedules", params, idempotent=True)
        return [_to_schedule(row) for row in found]

    async def list_unserved(self, *, limit: int) -> list[UnservedSchedule]:
        """Schedules of code whose task type no open worker runs, among the first `limit`."""
        found = await self._session.fetch(
            "list_unserved_schedules", {"limit": limit}, idempotent=True
        )
        return [UnservedSchedule(*row) for row in found]

    async def put(
        self,
        definition: Definition,
        *,
        next_at: datetime | None,
        due_at: datetime | None,
        seen: Schedule | None,
    ) -> bool:
        """Create a schedule, or replace the definition of `seen`. False: it has changed since."""
        timing, task, policy = definition.timing, definition.submission, definition.policy
        labels = None if not task.labels else msgspec.json.encode(task.labels).decode()
        params = {
            "tenant": task.tenant,
            "name": definition.name,
            "cron": timing.cron,
            "zone": timing.zone,
            "every_seconds": timing.every_seconds,
            "anchor_at": timing.anchor_at,
            "start_at": timing.start_at,
            "end_at": timing.end_at,
            "type": task.type,
            "queue": task.queue,
            "payload": task.payload.decode(),
            "headers": None if task.headers is None else task.headers.decode(),
            "labels": labels,
            "priority": int(task.priority),
            "max_attempts": task.max_attempts,
            "timeout_seconds": task.timeout_seconds,
            "limit_name": task.limit,
            "concurrency_key": task.concurrency_key,
            "catch_up": policy.catch_up,
            "max_catch_up": policy.max_catch_up,
            "overlap": policy.overlap,
            "jitter_seconds": definition.jitter_seconds,
            "source": definition.source,
            "next_at": next_at,
            "due_at": due_at,
            "seen_revision": None if seen is None else seen.revision,
            "seen_next": None if seen is None else seen.next_at,
        }
        return bool(await self._session.fetch("put_schedule", params))

    async def pause(self, tenant: str, name: str, *, by: str | None) -> bool:
        """Pause a schedule. False: there is none."""
        params = {"tenant": tenant, "name": name, "by": by}
        return bool(await self._session.fetch("pause_schedule", params, idempotent=True))

    async def resume(
        self, seen: Schedule, *, next_at: datetime | None, due_at: datetime | None, missed: int
    ) -> bool:
        """Resume a schedule. False: it has changed since it was seen."""
        params = {
            "tenant": seen.tenant,
            "name": seen.name,
            "seen_revision": seen.revision,
            "next_at": next_at,
            "due_at": due_at,
            "missed": missed,
        }
        return bool(await self._session.fetch("resume_schedule", params))

    async def delete(self, tenant: str, name: str) -> bool:
        """Delete a schedule. False: there is none."""
        params = {"tenant": tenant, "name": name}
        return bool(await self._session.fetch("delete_schedule", params))

    async def run(
        self, tenant: str, name: str, *, request: str, task_id: str, retention_seconds: float
    ) -> Run | None:
        """Create a task of a schedule now, once for each request. None: there is no such schedule.
        Raises `LimitUnknown`, and then nothing was recorded."""
        params = {
            "tenant": tenant,
            "name": name,
            "key": f"{KEY_PREFIX}{name}:run:{request}",
            "id": task_id,
            "retention": retention_seconds,
            "kept": KEPT_RUNS,
        }
        while True:
            with _limit_known():
                found = await self._session.fetch("run_schedule", params, idempotent=True)
            if not found:
                return None
            (row,) = found
            if row.task_id is not None:
                placed = lane(row.priority, 0, 0)
                # A statement that was sent twice finds the key of the first time.
                created = row.created or row.task_id == task_id
                return Run(row.task_id, row.queue, placed, row.type, created, row.limit_name)


@contextmanager
def _limit_known() -> Iterator[None]:
    """Raise `LimitUnknown` where a statement within the block finds no limit."""
    try:
        yield
    except (psycopg.errors.NotNullViolation, psycopg.errors.ForeignKeyViolation) as error:
        if error.diag.table_name != "limited":
            raise
        raise LimitUnknown("the limit of its tasks does not exist any more") from error


def _key(name: str, at: datetime) -> str:
    return f"{KEY_PREFIX}{name}:{_text(at)}"


def _text(at: datetime) -> str:
    """An instant as in `2026-03-29T01:00:00Z`, with microseconds only where there are any."""
    return f"{at.astimezone(UTC).replace(tzinfo=None).isoformat()}Z"


def _moments(ats: Sequence[datetime | None]) -> str:
    return quoted([None if at is None else _text(at) for at in ats])


def _fired(rows: Sequence[Any]) -> Fired:
    fired = Fired(tasks=[], taken=set(), missed={}, skipped={}, waiting=set())
    for row in rows:
        key = row.tenant, row.name
        fired.taken.add(key)
        if row.task_id is not None:
            placed = lane(row.priority, 0, 0)
            fired.tasks.append(
                FiredTask(*key, row.task_id, row.type, row.queue, placed, row.limit_name)
            )
        if row.waits:
            fired.waiting.add(key)
        elif row.missed:
            fired.missed[key] = row.missed
        if row.skipped:
            fired.skipped[key] = row.skipped
    return fired


_to_due = reader(DueSchedule)
_to_schedule = reader(Schedule)

__all__ = ["Fired", "FiredTask", "Firing", "NextTime", "Run", "ScheduleLedger"]
