"""Make the dead letters agree with the tasks that are FAILED.

The statements that end a task, redrive it or prune it keep its row in `leaseq.dead_letters`
themselves. Two kinds of rows are wrong all the same. A process of an older version does not know
the table: tasks that it has settled have no row, and those that it has redriven or pruned keep one.
And tasks that had failed before there was the table have no row. The scan along the ledger finds
the tasks without a row. A second scan, along the dead letters, finds the rows without a FAILED
task.

Invariants: both are corrected under the locks of the rows, by statements that look again. A pass
looks at a bounded number of rows, so it takes as long for a million dead letters as for thousands.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from leaseq.codec import FIRST_ID
from leaseq.ledger.dead_letters import DeadLetterLedger
from leaseq.observability.telemetry import emit
from leaseq_reaper.duties.suspicion import Clock

# Dead letters that are looked at in one pass, and the pause after the last of them.
CHUNK = 5000
ROUND_SECONDS = 60.0
# Until the next fold, after one that found few changes.
FOLD_SECONDS = 10.0


class DeadLetterScan:
    """Scans the dead letters, a little in each pass."""

    def __init__(self, ledger: DeadLetterLedger, *, clock: Clock = time.monotonic) -> None:
        self._ledger = ledger
        self._clock = clock
        self._cursor = FIRST_ID
        self._round_at = self._fold_at = clock()

    async def add(self, task_ids: Sequence[str]) -> None:
        """List FAILED tasks that the scan along the ledger found without a row."""
        added = await self._ledger.add(task_ids) if task_ids else []
        if added:
            emit("letter.corrected", added=len(added), removed=0)

    async def scan_on(self) -> None:
        """Look at the next dead letters, and fold their counts."""
        now = self._clock()
        if self._cursor != FIRST_ID or now >= self._round_at:
            found = await self._ledger.discard(after=self._cursor, limit=CHUNK)
            if found.count:
                emit("letter.corrected", added=0, removed=found.count)
            self._cursor = found.last_id or FIRST_ID
            if found.last_id is None:
                self._round_at = now + ROUND_SECONDS
        if now >= self._fold_at and not await self._ledger.fold_counts():
            self._fold_at = now + FOLD_SECONDS


__all__ = ["DeadLetterScan"]
