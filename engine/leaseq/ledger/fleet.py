"""The fleet and its queues in the ledger, read together for people."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from leaseq.ledger.rows import reader
from leaseq.ledger.session import Session
from leaseq.model import Moment


class StandingQueue(Struct, frozen=True, kw_only=True):
    """One queue, as the ledger knows it."""

    name: str
    paused: bool
    paused_by: str | None
    paused_reason: str | None
    paused_at: Moment | None
    workers: int
    overdue_seconds: float | None


class StandingFleet(Struct, frozen=True, kw_only=True):
    """The queues and the open workers at one moment, by the clock of Postgres."""

    now: Moment
    open: int
    silent: int
    queues: list[StandingQueue]


class RunningRow(Struct, frozen=True, kw_only=True):
    """One task that a worker runs."""

    task_id: str
    tenant: str
    queue: str
    type: str
    attempt: int
    max_attempts: int
    timeout_seconds: float
    started_at: Moment
    cancel_requested_at: Moment | None
    worker_id: str
    progress: bytes | None
    host: str | None


class FleetLedger:
    """The fleet in Postgres."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def read(self, *, limit: int, lease_seconds: float) -> StandingFleet:
        """The open workers, counted, and at most so many queues, paused ones first."""
        params = {"limit": limit, "lease_seconds": lease_seconds}
        found = await self._session.fetch("read_queues", params, idempotent=True)
        first = found[0]
        return StandingFleet(
            now=first.now,
            open=first.open,
            silent=first.silent,
            queues=[
                StandingQueue(
                    name=row.name,
                    paused=row.paused,
                    paused_by=row.paused_by,
                    paused_reason=row.paused_reason,
                    paused_at=row.paused_at,
                    workers=row.workers,
                    overdue_seconds=row.overdue_seconds,
                )
                for row in found
                if row.name is not None
            ],
        )

    async def list_running(
        self, ids: Sequence[str], *, tenant: str | None, limit: int
    ) -> tuple[Moment, list[RunningRow]]:
        """Those of these tasks that run, the longest running first, and the time at which they were
        read."""
        params = {"ids": list(ids), "tenant": tenant, "limit": limit}
        found = await self._session.fetch("list_running", params, idempotent=True)
        return found[0].now, [_to_running(row) for row in found if row.task_id is not None]

    async def list_worker_types(self, worker_id: str, *, limit: int) -> list[tuple[str, str]]:
        """The types that a worker runs, each with its version."""
        params = {"worker_id": worker_id, "limit": limit}
        found = await self._session.fetch("list_worker_types", params, idempotent=True)
        return [(row.type, row.version) for row in found]


_to_running = reader(RunningRow)

__all__ = ["FleetLedger", "RunningRow", "StandingFleet", "StandingQueue"]
