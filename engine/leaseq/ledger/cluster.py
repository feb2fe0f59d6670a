"""Measure the cluster in the ledger, for its metrics.

No statement here reads `tasks`, and each is bounded by the number of queues that are asked for,
or by a number of pages.
"""

from __future__ import annotations

from msgspec import Struct

from leaseq.ledger.dead_letters import CountedLetters, DeadLetterLedger
from leaseq.ledger.session import Session


class MeasuredQueue(Struct, frozen=True):
    """A queue. `overdue_seconds`: None while no SCHEDULED task of it is due."""

    name: str
    paused: bool
    workers: int
    slots: int
    overdue_seconds: float | None


class CountedWorkers(Struct, frozen=True):
    """Open workers. `now`: the time by the clock of Postgres, in seconds since 1970."""

    open: int
    silent: int
    now: float


class MeasuredLimit(Struct, frozen=True):
    """A limit; `concurrency` is None where it bounds its keys only. Reckoned from a sample where very
    many tasks have limits."""

    name: str
    concurrency: int | None
    admitted: int
    waiting: int
    oldest_seconds: float


class MeasuredSchedules(Struct, frozen=True):
    """The schedules. `overdue_seconds`: since the first was due that is not fired yet."""

    running: int
    paused: int
    over: int
    overdue_seconds: float


class MeasuredCluster(Struct, frozen=True):
    """The cluster at one time. `table_bytes`: of each table with its indexes."""

    queues: list[MeasuredQueue]
    workers: CountedWorkers
    table_bytes: dict[str, float]
    # by queue; reckoned from a sample where there are many
    scheduled: dict[str, int]
    # by queue and type, and how many there are beside those
    dead_letters: list[CountedLetters]
    other_letters: int
    limits: list[MeasuredLimit]
    schedules: MeasuredSchedules


class ClusterLedger:
    """The cluster, as the ledger knows it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._dead_letters = DeadLetterLedger(session)

    async def measure(self, *, queues: int, lease_seconds: float) -> MeasuredCluster:
        """Everything that is measured here, of at most so many queues."""
        letters = await self._dead_letters.count(tenant=None, limit=queues)
        return MeasuredCluster(
            await self.measure_queues(limit=queues),
            await self.count_workers(lease_seconds=lease_seconds),
            await self.measure_tables(),
            await self.count_scheduled(limit=queues),
            letters,
            letters[0].total - sum(each.count for each in letters) if letters else 0,
            await self.measure_limits(limit=queues),
            await self.measure_schedules(),
        )

    async def measure_queues(self, *, limit: int) -> list[MeasuredQueue]:
        """So many queues, those that workers serve first."""
        found = await self._session.fetch("measure_queues", {"limit": limit}, idempotent=True)
        return [MeasuredQueue(*row) for row in found]

    async def count_workers(self, *, lease_seconds: float) -> CountedWorkers:
        """The open workers, and whether each was seen within a lease."""
        params = {"lease_seconds": lease_seconds}
        (row,) = await self._session.fetch("count_workers", params, idempotent=True)
        return CountedWorkers(*row)

    async def measure_tables(self) -> dict[str, float]:
        """The bytes of each table with its indexes."""
        found = await self._session.fetch("measure_tables", idempotent=True)
        return {row.name: row.bytes for row in found}

    async def measure_limits(self, *, limit: int) -> list[MeasuredLimit]:
        """So many limits, those with most waiting tasks first."""
        found = await self._session.fetch("measure_limits", {"limit": limit}, idempotent=True)
        return [MeasuredLimit(*row) for row in found]

    async def measure_schedules(self) -> MeasuredSchedules:
        """The schedules by their state, and how late the first one is."""
        (row,) = await self._session.fetch("measure_schedules", idempotent=True)
        return MeasuredSchedules(*row)

    async def count_scheduled(self, *, limit: int) -> dict[str, int]:
        """The SCHEDULED tasks of each queue that has any, of at most so many queues."""
        params = {"limit": limit}
        found = await self._session.fetch("count_scheduled", params, idempotent=True)
        return {row.queue: row.count for row in found}


__all__ = [
    "ClusterLedger",
    "CountedWorkers",
    "MeasuredCluster",
    "MeasuredLimit",
    "MeasuredQueue",
    "MeasuredSchedules",
]
