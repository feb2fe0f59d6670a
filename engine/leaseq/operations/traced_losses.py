"""Settle lost attempts with the spans that their workers could not end.

Only the recovery of a process that traces has this in front of the ledger. It decides nothing: an
attempt is settled as without it, with a header more. It opens no crash window that matters to a
task: a process that dies here loses spans, as a killed worker does.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from leaseq.ledger.held_attempts import HeldAttemptLedger
from leaseq.ledger.tasks import TaskLedger
from leaseq.model import Settled, Settlement
from leaseq.observability.tracing import Tracing


class TracedLosses:
    """The settlements of lost attempts, in a process that traces."""

    def __init__(self, tasks: TaskLedger, attempts: HeldAttemptLedger, tracing: Tracing) -> None:
        self._tasks = tasks
        self._attempts = attempts
        self._tracing = tracing

    async def settle(self, batch: Sequence[Settlement]) -> dict[str, Settled]:
        """Settle these as lost, as `TaskLedger.settle` does."""
        held = await self._attempts.read([settlement.claim for settlement in batch])
        spans = self._tracing.losing(held, reason=_reason(batch))
        settled = await self._tasks.settle(
            [replace(s, headers=spans.headers_after(s.claim)) for s in batch]
        )
        spans.end(settled.values())
        return settled


def _reason(batch: Sequence[Settlement]) -> str:
    """Why they are lost: all of a batch for the same reason, which is a text of leaseq."""
    error = batch[0].ending.error
    return "lost" if error is None else error.message


__all__ = ["TracedLosses"]
