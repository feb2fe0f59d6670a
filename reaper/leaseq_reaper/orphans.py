"""Which attempts have nobody left to end them?

PROCESSING under an incarnation that is closed or unknown in the ledger. It can neither be closed twice nor opened
again, and a claim needs it open (claim_tasks.sql), so such an attempt ends only here, or by its stale worker's own
settle, which may still come first: both carry the fence, one of them counts. An owner that is *open* is never touched
here, however dead it looks.

Found in one pass, settled in the next: whoever closed the owner is most likely settling these very attempts now, and
knows whom to blame for the crash. Here nobody is blamed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import islice

from leaseq.failpoints import reach
from leaseq.model import Claim, Counts, Glimpse, Settled, State
from leaseq.operations.engine import Stores
from leaseq.operations.reap import Reap
from leaseq.telemetry import emit
from leaseq_reaper.apart import Apart
from leaseq_reaper.redeliver import redeliver
from leaseq_reaper.suspicion import Clock

PATIENCE_SECONDS = 1.0
BATCH = 500
# More than this is found again by a later walk.
CAPACITY = 20_000
SHOWN = 20


class Orphans:
    """Settles orphans as lost, and delivers what is to run again."""

    def __init__(self, stores: Stores, reap: Reap, *, apart: Apart, clock: Clock = time.monotonic) -> None:
        self._settle_lost = reap.settle_lost
        self._ledger = stores.ledger
        self._dispatcher = stores.dispatcher
        self._apart = apart
        self._clock = clock
        self._found: dict[Claim, tuple[Counts, float]] = {}
        self._undelivered: dict[str, Settled] = {}

    def note(self, orphans: Sequence[tuple[Glimpse, Claim, Counts]]) -> None:
        """Remember what a walk has found."""
        for _, claim, counts in orphans:
            if len(self._found) < CAPACITY:
                self._found.setdefault(claim, (counts, self._clock()))

    async def settle(self) -> int:
        """Settle those found a while ago; returns how many that counted for."""
        due = self._clock() - PATIENCE_SECONDS
        ready = [(claim, counts) for claim, (counts, since) in self._found.items() if since <= due]
        count = 0
        rest = iter(ready)
        while batch := list(islice(rest, BATCH)):
            taken = await self._settle_lost(batch, reason="its worker is gone", alone=False)
            reach("orphans.settled")
            for claim, _ in batch:
                if claim.task_id not in taken.locked:  # a locked one is tried again in the next pass
                    del self._found[claim]
            count += len(taken.settled)
            for task in taken.settled:
                if task.state is State.PENDING and len(self._undelivered) < CAPACITY:
                    self._undelivered[task.task_id] = task
            await self._deliver()
        await self._deliver()
        return count

    async def _deliver(self) -> None:
        """Deliver what is to run again. What Redis does not take now is delivered in the next pass.

        Raises `ServerUnreachable`.
        """
        if not self._undelivered:
            return
        glimpses = await self._ledger.glimpse([*self._undelivered])
        waiting = [
            task
            for task in glimpses.values()
            if task.state is State.PENDING and task.attempt == self._undelivered[task.task_id].attempt
        ]
        delivered = await redeliver(self._dispatcher, waiting, apart=self._apart)
        self._undelivered = {task.task_id: self._undelivered[task.task_id] for task in delivered.failed}
        if delivered.taken:
            emit("task.redispatched", count=len(delivered.taken), task_ids=sorted(delivered.taken)[:SHOWN], reason="orphaned")


__all__ = ["Orphans"]
