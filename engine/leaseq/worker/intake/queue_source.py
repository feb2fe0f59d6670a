"""Get deliveries of one queue: by a pull, or by the doorbell of empty lanes.

Both move a delivery into the processing list of this worker in the same step, so a lost reply loses
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from leaseq.dispatch.blocking_pull import BlockingPull
from leaseq.dispatch.deliveries import Deliveries
from leaseq.dispatch.dispatcher import Dispatcher
from leaseq.model import Lane
from leaseq.worker.intake.lane_watch import LaneWatch

# In a cycle of twelve pulls the least urgent lane comes first once, and the one before it once.
TURN_CYCLE = 12
TURNS = {0: 1, 6: 2}


class QueueSource:
    """The source of one queue. `watch`: of a worker with many queues, where an idle source waits
    without its doorbell."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        doorbell: BlockingPull,
        *,
        queue: str,
        worker_id: str,
        lanes: Sequence[Lane],
        watch: LaneWatch | None = None,
    ) -> None:
        self.is_idle = True  # no delivery is known to wait here
        self._dispatcher = dispatcher
        self._doorbell = doorbell
        self._queue = queue
        self._worker_id = worker_id
        self._lanes = lanes
        self._watch = watch
        self._pulls = 0

    async def sleep(self) -> None:
        """Where the source is idle and has a watch, wait until a lane holds something or the worker
        stops."""
        if self._watch is not None and self.is_idle:
            await self._watch.sleep(self._queue)

    async def pull(self, limit: int) -> Deliveries:
        """Take at most `limit` deliveries from the lanes."""
        self._pulls += 1
        return await self._dispatcher.pull(
            self._queue,
            worker_id=self._worker_id,
            limit=limit,
            lanes=self._lanes,
            turn=TURNS.get(self._pulls % TURN_CYCLE, 0),
        )

    async def wait(self) -> Deliveries:
        """Wait at the doorbell for one delivery, at most for one block."""
        arrived = await self._doorbell.wait()
        self.is_idle = not arrived.task_ids and not arrived.garbage
        if self.is_idle and self._watch is not None:
            await self._doorbell.disconnect()
        return arrived


__all__ = ["QueueSource"]
