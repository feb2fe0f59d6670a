"""Push the deliveries of recorded tasks to dispatch in the background.

Deliveries are offered after the commit and pushed in batches. An outage of Redis does not delay the
client: a delivery that could not be pushed is dropped here, and the reconciler finds its task in
the ledger (window "committed, not pushed" in docs/lifecycle.md).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable

from leaseq.dispatch.dispatcher import Dispatcher
from leaseq.errors import ServerUnreachable
from leaseq.failpoints import reach
from leaseq.model import Lane
from leaseq.observability.telemetry import emit

CAPACITY = 100_000


class Pusher:
    """Pushes deliveries in the background."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._waiting: list[tuple[str, Lane, bool, str]] = []
        self._worker: asyncio.Task[None] | None = None
        self._is_starting = False

    def offer(
        self, deliveries: Iterable[tuple[str, Lane, str]], *, redelivery: bool = False
    ) -> None:
        """Hand in (queue, lane, task id) without waiting. `redelivery`: the tasks are older ones
        (`Dispatcher.push`)."""
        dropped = 0
        for queue, lane, task_id in deliveries:
            if len(self._waiting) < CAPACITY:
                self._waiting.append((queue, lane, redelivery, task_id))
            else:
                dropped += 1
        if dropped:
            emit("push.failed", count=dropped, error="too many deliveries wait for Redis")
        if self._waiting and not (self._is_starting or self._is_running()):
            self._is_starting = True
            # Not now: a caller that was just answered may have a statement for Postgres next, which
            # is sent while this batch for Redis is packed.
            asyncio.get_running_loop().call_soon(self._start)

    async def push(self, deliveries: Iterable[tuple[str, Lane, str]]) -> bool:
        """Push (queue, lane, task id) of older tasks now. Returns whether Redis took all of them."""
        return await self._push([(queue, lane, True, id_) for queue, lane, id_ in deliveries])

    async def aclose(self) -> None:
        """Wait until every offered delivery was pushed or dropped."""
        while self._is_starting or self._is_running():
            if self._worker is None or self._is_starting:
                await asyncio.sleep(0)
            else:
                await asyncio.wait([self._worker])

    def _is_running(self) -> bool:
        return self._worker is not None and not self._worker.done()

    def _start(self) -> None:
        self._is_starting = False
        self._worker = asyncio.create_task(self._drain())

    async def _drain(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            await self._push(batch)

    async def _push(self, batch: list[tuple[str, Lane, bool, str]]) -> bool:
        groups: dict[tuple[str, Lane, bool], list[str]] = defaultdict(list)
        for queue, lane, redelivery, task_id in batch:
            groups[queue, lane, redelivery].append(task_id)
        arrived = True
        for (queue, lane, redelivery), task_ids in groups.items():
            try:
                taken = await self._dispatcher.push(
                    queue, task_ids, lane=lane, redelivery=redelivery
                )
                reach("push.sent")
                if taken:
                    emit("delivery.pushed", queue=queue, lane=lane, count=len(taken))
            except ServerUnreachable as error:
                arrived = False
                emit("push.failed", queue=queue, count=len(task_ids), error=str(error))
        return arrived


__all__ = ["Pusher"]
