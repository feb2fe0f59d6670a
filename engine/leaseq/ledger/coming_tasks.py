"""SCHEDULED tasks in the order in which they are due, for people.

The work has a bound, however many tasks are scheduled. The moment up to which all were looked at is
returned.
"""

from __future__ import annotations

from msgspec import Struct

from leaseq.ledger.rows import reader
from leaseq.ledger.session import Session
from leaseq.model import Moment

# Places (a queue and a priority each) and their tasks that are looked at, and tasks that are looked up for a tenant.
MOST_PLACES = 200
MOST_LOOKED_AT = 1_500
MOST_LOOKED_UP = 200
OVERDUE = -1


class ComingRow(Struct, frozen=True, kw_only=True):
    """One task that is due soon or is overdue."""

    task_id: str
    tenant: str
    queue: str
    type: str
    run_at: Moment
    created_at: Moment
    attempt: int
    max_attempts: int
    hand_back_count: int
    error: bytes | None


class Coming(Struct, frozen=True, kw_only=True):
    """The tasks that are due soon. `counts`: by minute from `now` on, OVERDUE for those that are
    overdue. Tasks that are due after `until` were not all looked at."""

    now: Moment
    until: Moment | None
    partial: bool
    overdue_since: Moment | None
    counts: dict[int, int]
    tasks: list[ComingRow]


class ComingTaskLedger:
    """The SCHEDULED tasks in Postgres."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def read(self, *, horizon_seconds: float, tenant: str | None, limit: int) -> Coming:
        """The tasks that are due within a horizon: how many in each minute, of all tenants, and the
        first of one tenant."""
        params = {
            "horizon": horizon_seconds,
            "places": MOST_PLACES,
            "most": MOST_LOOKED_AT,
            "rows": MOST_LOOKED_UP,
            "tenant": tenant,
            "limit": limit,
        }
        found = await self._session.fetch("read_coming", params, idempotent=True)
        first = found[0]
        return Coming(
            now=first.now,
            until=first.until,
            partial=first.partial,
            overdue_since=first.first,
            counts=dict(zip(first.bins or (), first.counts or (), strict=True)),
            tasks=[_to_row(row) for row in found if row.task_id is not None],
        )


_to_row = reader(ComingRow)

__all__ = ["OVERDUE", "Coming", "ComingRow", "ComingTaskLedger"]
