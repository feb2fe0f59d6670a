"""Settle batches of attempts, each in a span.

Only a worker with `trace_batches` has this in front of the ledger.
"""

from __future__ import annotations

from collections.abc import Sequence

from leaseq.ledger.tasks import TaskLedger
from leaseq.model import Settled, Settlement
from leaseq.observability.tracing import Tracing


class TracedSettles:
    """The settlements of one worker, in spans."""

    def __init__(self, tasks: TaskLedger, tracing: Tracing) -> None:
        self._tasks = tasks
        self._tracing = tracing

    async def settle(self, batch: Sequence[Settlement]) -> dict[str, Settled]:
        """The same as `TaskLedger.settle`."""
        with self._tracing.settling([settlement.claim for settlement in batch]):
            return await self._tasks.settle(batch)


__all__ = ["TracedSettles"]
