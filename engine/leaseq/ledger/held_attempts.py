"""Read the attempts that are about to be settled as lost, for their spans.

Only a process that traces asks this.
"""

from __future__ import annotations

from collections.abc import Sequence

from leaseq.ledger.arrays import numbers, words
from leaseq.ledger.rows import reader
from leaseq.ledger.session import Session
from leaseq.model import Claim
from leaseq.trace_context import HeldAttempt


class HeldAttemptLedger:
    """The attempts of dead workers in Postgres."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def read(self, claims: Sequence[Claim]) -> list[HeldAttempt]:
        """The attempts among these that have not ended."""
        params = {
            "ids": words(claim.task_id for claim in claims),
            "attempts": numbers(claim.attempt for claim in claims),
        }
        found = await self._session.fetch("read_held_attempts", params, idempotent=True)
        return [_to_attempt(row) for row in found]


_to_attempt = reader(HeldAttempt)

__all__ = ["HeldAttemptLedger"]
