"""The fleet and its queues in the ledger, read together for people."""

from __future__ import annotations

from msgspec import Struct

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


__all__ = ["FleetLedger", "StandingFleet", "StandingQueue"]
