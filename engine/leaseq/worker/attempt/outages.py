"""First-hand evidence of an outage of Postgres.

When a connection breaks under a handler, either Postgres was away, or the handler broke it. The
worker's own connections tell which: whether one of them was lost or could not be made while the
attempt ran, and whether Postgres answers now.
"""

from __future__ import annotations

from time import monotonic

from leaseq.codec import FIRST_ID
from leaseq.connections.primary import Primary
from leaseq.errors import ServerUnreachable
from leaseq.ledger.tasks import TaskLedger

# Of the pool. Connections that came back broken are not counted: a handler that is cancelled inside
# ctx.set_progress breaks one.
TROUBLES = ("connections_lost", "connections_errors")
# `look` is called once a second while something runs: a loss that it finds may have happened a
# little earlier.
LOOK_SECONDS = 1.0


class Outages:
    """Observes the worker's own connections."""

    def __init__(self, ledger: TaskLedger, primary: Primary | None = None) -> None:
        self._ledger = ledger
        self._primary = primary
        self._count = 0
        self._last = float("-inf")

    def look(self) -> None:
        """Note whether a connection has been lost since the last look."""
        session = self._ledger.session
        stats = session.pool.get_stats()
        count = session.unanswered + sum(stats.get(name, 0) for name in TROUBLES)
        if count != self._count:
            self._count, self._last = count, monotonic()
        if self._primary is not None:
            # A pool that is emptied for a refusal which another one has met counts nothing as lost.
            self._last = max(self._last, self._primary.refused_at)

    async def seen_since(self, moment: float) -> bool:
        """Whether Postgres has been away at any time since `moment` (monotonic), as far as this
        worker can see. Never raises."""
        try:
            # A connection that has died while idle is noticed when it is asked for.
            await self._ledger.find_states([FIRST_ID])
        except ServerUnreachable:
            return True
        self.look()
        return self._last >= moment - LOOK_SECONDS


__all__ = ["Outages"]
