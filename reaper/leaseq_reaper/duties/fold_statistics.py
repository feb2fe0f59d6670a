"""Fold the counts that processes have flushed into sums over time.

Any number of reapers may fold: one does so at a time, and the others find nothing to do. A fold is
one statement, so a reaper that dies has folded everything or nothing.
"""

from __future__ import annotations

from leaseq.ledger.statistics import StatisticsLedger

FOLD_SECONDS = 10.0


class FoldStatistics:
    """The duty."""

    def __init__(self, ledger: StatisticsLedger) -> None:
        self._ledger = ledger

    async def run_once(self) -> None:
        """Fold the tallies that are old enough."""
        await self._ledger.fold()


__all__ = ["FOLD_SECONDS", "FoldStatistics"]
