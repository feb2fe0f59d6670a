"""Settle attempts whose worker can no longer end them.

These are PROCESSING under a worker that is closed or unknown in the ledger. A worker is
neither closed twice nor opened again, and a claim needs an open one (claim_tasks.sql). So such an
attempt ends only here, or by its stale worker's own settle, which may still come first. Both carry
the fence, so one of them counts. An owner that is *open* is never touched here, even if it looks
dead.

An orphan found in one pass is settled in the next: the process that closed the owner is most likely
settling these attempts now, and knows which task to charge for the crash. Here no task is charged.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import islice

from leaseq.failpoints import reach
from leaseq.model import Claim, Counts, Settled, State, TaskSnapshot
from leaseq.observability.telemetry import emit
from leaseq.operations.recover import WorkerRecovery
from leaseq.operations.stores import Stores
from leaseq_reaper.duties.suspicion import Clock
from leaseq_reaper.isolation import FailureIsolation
from leaseq_reaper.redeliver import redeliver

PATIENCE_SECONDS = 1.0
BATCH = 500
# A later scan finds further ones.
CAPACITY = 20_000
SHOWN = 20


class Orphans:
    """Settles orphans as lost, and delivers the tasks that run again."""

    def __init__(
        self,
        stores: Stores,
        recovery: WorkerRecovery,
        *,
        isolation: FailureIsolation,
        clock: Clock = time.monotonic,
    ) -> None:
        self._settle_lost = recovery.settle_lost
        self._ledger = stores.tasks
        self._dispatcher = stores.dispatcher
        self._isolation = isolation
        self._clock = clock
        self._found: dict[Claim, tuple[Counts, float]] = {}
        self._undelivered: dict[str, Settled] = {}

    def note(self, orphans: Sequence[tuple[TaskSnapshot, Claim, Counts]]) -> None:
        """Remember the orphans of a scan."""
        for _, claim, counts in orphans:
            if len(self._found) < CAPACITY:
                self._found.setdefault(claim, (counts, self._clock()))

    async def settle(self) -> int:
        """Settle those found a while ago. Returns how many of these settlements counted."""
        due = self._clock() - PATIENCE_SECONDS
        ready = [(claim, counts) for claim, (counts, since) in self._found.items() if since <= due]
        count = 0
        rest = iter(ready)
        while batch := list(islice(rest, BATCH)):
            taken = await self._settle_lost(batch, reason="its worker is gone", alone=False)
            reach("orphans.settled")
            for claim, _ in batch:
                if claim.task_id not in taken.locked:  # a locked row is settled in the next pass
                    del self._found[claim]
            count += len(taken.settled)
            for task in taken.settled:
                if task.state is State.PENDING and len(self._undelivered) < CAPACITY:
                    self._undelivered[task.task_id] = task
            await self._deliver()
        await self._deliver()
        return count

    async def _deliver(self) -> None:
        """Deliver the tasks that run again. Deliveries that Redis does not take now are made in the
        next pass.

        Raises `ServerUnreachable`.
        """
        if not self._undelivered:
            return
        snapshots = await self._ledger.find_snapshots([*self._undelivered])
        waiting = [
            task
            for task in snapshots.values()
            if task.state is State.PENDING
            and task.attempt == self._undelivered[task.task_id].attempt
        ]
        delivered = await redeliver(self._dispatcher, waiting, isolation=self._isolation)
        self._undelivered = {
            task_id: self._undelivered[task_id]
            for task_ids in delivered.failed.values()
            for task_id in task_ids
        }
        if delivered.taken:
            emit(
                "task.redispatched",
                count=len(delivered.taken),
                task_ids=sorted(delivered.taken)[:SHOWN],
                reason="orphaned",
            )


__all__ = ["Orphans"]
