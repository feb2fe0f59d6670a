"""Dead letters: the tasks that are FAILED, in a narrow table.

The statements of settle, redrive, erase and prune keep the rows of their tasks themselves. The
statements here read them, and set right what processes of an older version have left
(docs/lifecycle.md).
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from leaseq.ledger.arrays import words
from leaseq.ledger.session import Session

# A fold that finds fewer changes does nothing, and no fold takes more of them.
LEAST_FOLDED = 100
MOST_FOLDED = 20_000


class Discarded(Struct, frozen=True):
    """A part of the dead letters that was looked at. `last_id` is where the next one begins (None:
    nothing was there to look at)."""

    last_id: str | None
    count: int


class CountedLetters(Struct, frozen=True):
    """The number of dead letters of one queue and type. `total`: of all queues and types, also of
    those that the limit leaves out."""

    queue: str
    type: str
    count: int
    total: int


class DeadLetterLedger:
    """The dead letters in Postgres."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def add(self, task_ids: Sequence[str]) -> list[str]:
        """List FAILED tasks among these as dead letters that are not listed; returns their ids."""
        params = {"ids": words(sorted(task_ids))}
        found = await self._session.fetch("add_dead_letters", params, idempotent=True)
        return [row.task_id for row in found]

    async def discard(self, *, after: str, limit: int) -> Discarded:
        """Delete those of the next `limit` dead letters after an id whose tasks are not FAILED."""
        params = {"after": after, "limit": limit}
        ((last_id, count),) = await self._session.fetch("discard_dead_letters", params)
        return Discarded(last_id, count)

    async def count(self, *, tenant: str | None, limit: int) -> list[CountedLetters]:
        """The number of dead letters of a tenant (None: of all) by queue and type, the most
        first."""
        params = {"tenant": tenant, "limit": limit}
        found = await self._session.fetch("count_dead_letters", params, idempotent=True)
        return [CountedLetters(*row) for row in found]

    async def fold_counts(self) -> bool:
        """Replace many changes of the number of dead letters by their sums. False: there were few."""
        params = {"least": LEAST_FOLDED, "most": MOST_FOLDED}
        ((count,),) = await self._session.fetch("fold_dead_letters", params)
        return bool(count)


__all__ = ["CountedLetters", "DeadLetterLedger", "Discarded"]
