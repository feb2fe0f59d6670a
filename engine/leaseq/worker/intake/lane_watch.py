"""Watch the lanes of many queues with one command, for the intakes that are idle.

A doorbell waits for one queue, on a connection of its own, and asks again after each block. A
worker of a few queues has one for each. A worker of hundreds would spend its time, and the
server's, on queues in which nothing happens. So an intake of such a worker sleeps once its doorbell
was silent for a block, and the watch wakes it when a lane of its queue holds something. An intake
that has work goes on exactly as in a worker of one queue.

Invariants: the watch moves nothing, so a crash or a lost reply of it loses nothing. A delivery
waits for at most WATCH_SECONDS and a round trip before its intake is awake. When the worker stops,
every intake wakes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from leaseq.dispatch.dispatcher import Dispatcher
from leaseq.errors import ServerUnreachable
from leaseq.loop import Pauses, Retries, pause
from leaseq.model import Lane
from leaseq.observability.telemetry import emit

WATCH_SECONDS = 0.5
# A push to any lane leaves a token in the bell. The token is lost with a worker that dies with it,
# so every other look is at all lanes.
ALL_LANES_EVERY = 2
PAUSES = Pauses(1.0)


class LaneWatch:
    """The watch of one worker. `bell`: the lane that holds something whenever another one does, but
    for a lost token."""

    def __init__(self, dispatcher: Dispatcher, *, lanes: Sequence[Lane], bell: Lane) -> None:
        self._dispatcher = dispatcher
        self._lanes = tuple(lanes)
        self._bell = (bell,)
        self._asleep: dict[str, asyncio.Event] = {}
        self._over = False
        self._looks = 0

    async def sleep(self, queue: str) -> None:
        """Wait until this queue holds something, or the worker stops."""
        if self._over:
            return
        event = self._asleep.setdefault(queue, asyncio.Event())
        await event.wait()

    async def run(self, stop: asyncio.Event) -> None:
        """Look until `stop` is set."""
        retries = Retries(
            PAUSES, report=lambda error: emit("dispatch.unreachable", error=str(error)), stop=stop
        )
        try:
            while not stop.is_set():
                try:
                    await self._look()
                    if retries.failures:
                        retries.failures = 0
                        emit("dispatch.returned")
                    await pause(WATCH_SECONDS, stop=stop)
                except ServerUnreachable as error:
                    await retries.wait(error)
        finally:
            self._over = True
            self._wake([*self._asleep])

    async def _look(self) -> None:
        self._looks += 1
        lanes = self._lanes if self._looks % ALL_LANES_EVERY == 1 else self._bell
        if self._asleep:
            self._wake(await self._dispatcher.holding([*self._asleep], lanes=lanes))

    def _wake(self, queues: Sequence[str]) -> None:
        for queue in queues:
            event = self._asleep.pop(queue, None)
            if event is not None:
                event.set()


__all__ = ["WATCH_SECONDS", "LaneWatch"]
