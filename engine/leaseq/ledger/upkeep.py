"""What do the reaper's passes ask of the ledger: the walk over all tasks, and the pruning of old ones?"""

from __future__ import annotations

from msgspec import Struct

from leaseq.ledger import rows
from leaseq.ledger.session import Session
from leaseq.model import Counts, Glimpse, Lease, State

FIRST_ID = "00000000-0000-0000-0000-000000000000"


class Chunk(Struct, frozen=True):
    """One step of the reconciler's walk. `last_id` is where the next one begins; None means the walk is at its end."""

    last_id: str | None
    waiting: list[Glimpse]  # PENDING for a while: stranded, unless dispatch knows them
    orphans: list[tuple[Glimpse, Lease, Counts]]  # PROCESSING under a closed or unknown incarnation


class Upkeep:
    """The maintenance statements."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def sweep(self, *, cursor: str, limit: int, quiet_seconds: float) -> Chunk:
        """Look at the next `limit` tasks after `cursor`, in order of id."""
        params = {"cursor": cursor, "limit": limit, "quiet": quiet_seconds}
        found = await self._session.fetch("sweep_tasks", params, again=True)
        waiting, orphans = [], []
        for row in found:
            if row[1] is None:
                continue
            placed = rows.lane(row[6], row[8], row[9])
            glimpse = Glimpse(row[1], row[2], State(row[3]), row[4], row[5], placed)
            if glimpse.state is State.PENDING:
                waiting.append(glimpse)
            else:
                counts = Counts(row[7], row[8], row[9], row[10])
                orphans.append((glimpse, Lease(row[1], row[4], row[5]), counts))
        return Chunk(found[0][0] if found else None, waiting, orphans)

    async def prune_tasks(self, *, before: str, retention_seconds: float, limit: int) -> int:
        """Delete up to `limit` finished tasks whose id is below `before`; returns how many."""
        params = {"before": before, "retention": retention_seconds, "limit": limit}
        return len(await self._session.fetch("prune_tasks", params))

    async def prune_keys(self, *, limit: int) -> int:
        """Delete up to `limit` expired idempotency keys; returns how many."""
        return len(await self._session.fetch("prune_keys", {"limit": limit}))

    async def prune_workers(self, *, retention_seconds: float) -> int:
        """Delete incarnations closed longer ago than that; returns how many."""
        return len(await self._session.fetch("prune_workers", {"retention": retention_seconds}))


__all__ = ["FIRST_ID", "Chunk", "Upkeep"]
