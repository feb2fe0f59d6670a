"""Size the limits of fair queues, and let tasks from before take a limit.

The permits of a fair queue follow the slots of its workers and the pace of its tasks. A queue that was
given a limit may have PENDING and SCHEDULED tasks without it: from before, and of processes that did not
know yet. The duty walks the tasks twice for such a queue, a chunk in a statement that moves the position
too, so a reaper that dies has adopted the tasks of a chunk or none, and the next one goes on behind it.
"""

from __future__ import annotations

import time

from leaseq.observability.telemetry import emit
from leaseq.operations.stores import Stores
from leaseq_reaper.duties.suspicion import Clock

INTERVAL_SECONDS = 1.0
CHUNK = 2_000
# A pass walks for so long.
WALK_SECONDS = 0.5


class FairQueues:
    """The duty."""

    def __init__(self, stores: Stores, *, clock: Clock = time.monotonic) -> None:
        self._queues = stores.queue_limits
        self._clock = clock

    async def run_once(self) -> None:
        """Size the fair queues, and walk on."""
        for room in await self._queues.size():
            emit("queue.sized", queue=room.queue, permits=room.permits)
        until = self._clock() + WALK_SECONDS
        while (walk := await self._queues.find_walk()) is not None:
            adopted, is_end = await self._queues.adopt(walk, size=CHUNK)
            if adopted or is_end:
                emit("queue.adopted", queues=list(walk.queues), tasks=adopted, ended=is_end)
            if self._clock() >= until:
                break


__all__ = ["INTERVAL_SECONDS", "FairQueues"]
