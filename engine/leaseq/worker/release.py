"""Take deliveries out of the processing lists of one worker, in batches.

Invariant: a release that fails changes nothing but the list. The delivery stays there, and the list
audit of the worker, which `failed` wakes, finds it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence

from leaseq.dispatch.deliveries import Destination, Release
from leaseq.dispatch.dispatcher import Dispatcher
from leaseq.errors import ServerUnreachable
from leaseq.failpoints import reach
from leaseq.gather import Gatherer
from leaseq.model import Lane
from leaseq.observability.telemetry import emit

BATCH_SIZE = 500


# One delivery on its way out of the processing list, and the queue of that list.
QueuedRelease = tuple[str, Release]


class Releaser:
    """Releases the deliveries of one worker."""

    def __init__(self, dispatcher: Dispatcher, *, worker_id: str, capacity: int) -> None:
        self._dispatcher = dispatcher
        self._worker_id = worker_id
        # a delivery may have stayed in a list; the list audit waits for this
        self.failed = asyncio.Event()
        self._gatherer: Gatherer[QueuedRelease, None] = Gatherer(
            self._write, batch_size=BATCH_SIZE, capacity=capacity
        )

    async def release(
        self, queue: str, delivery: str | bytes, destination: Destination | Lane = Destination.DONE
    ) -> None:
        """Release one delivery."""
        await self._gatherer.add((queue, Release(delivery, destination)))

    async def release_all(self, queue: str, releases: Sequence[Release]) -> None:
        """Release many deliveries of one queue, in this order."""
        await self._write([(queue, release) for release in releases])

    def put(self, queue: str, release: Release, done: Callable[[object], None]) -> None:
        """Release one delivery, then call `done`."""
        self._gatherer.put((queue, release), done)

    async def _write(self, batch: Sequence[QueuedRelease]) -> list[None]:
        by_queue: defaultdict[str, list[Release]] = defaultdict(list)
        for queue, release in batch:
            by_queue[queue].append(release)
        for queue, releases in by_queue.items():
            try:
                found = await self._dispatcher.release(queue, releases, worker_id=self._worker_id)
                reach("release.sent")
                emit("delivery.released", queue=queue, count=found)
            except ServerUnreachable as error:
                emit("dispatch.unreachable", error=str(error), queue=queue)
                self.failed.set()
        return [None] * len(batch)


__all__ = ["Releaser"]
