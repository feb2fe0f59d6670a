"""Is the worker's processing list what the worker believes it to be?

A list may hold ids that the worker does not know of (a reply that was lost on the way), or lack ids that it holds (Redis
was wiped). Every few seconds, and soon after any error of Redis, both are compared: strays are taken in like any
delivery, and what is missing is put back, so that a reap after our death finds it (faults.md 0.2, P3).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from leaseq.dispatch.deliveries import Deliveries
from leaseq.telemetry import emit
from leaseq.worker.intake import Intake
from leaseq.worker.tools import Tools


class Sweep:
    """Compares the processing lists with what is in hand."""

    def __init__(self, tools: Tools, intakes: Mapping[str, Intake]) -> None:
        self._tools = tools
        self._intakes = intakes

    async def run_once(self) -> None:
        for queue, intake in self._intakes.items():
            before = {task_id for task_id, held in self._tools.in_hand.items() if held.queue == queue}
            found = await self._tools.dispatcher.held(queue, worker_id=self._tools.worker_id)
            strays = [task_id for task_id in found.task_ids if task_id not in self._tools.in_hand]
            # Only what was in hand before the look and still is: an id released in between is rightly gone.
            held = [task_id for task_id in before - set(found.task_ids) if task_id in self._tools.in_hand]
            if held:
                missing = await self._tools.dispatcher.restore(queue, held, worker_id=self._tools.worker_id)
                if missing:
                    emit("delivery.restored", queue=queue, count=missing)
            if strays or found.garbage:
                if strays:
                    emit("delivery.stray", queue=queue, count=len(strays), task_id=strays[0])
                await intake.take(Deliveries(strays, found.garbage))

    async def wait(self, seconds: float) -> None:
        """Until the next look is due: after `seconds`, or at once when a release has failed."""
        try:
            async with asyncio.timeout(seconds):
                await self._tools.releaser.failed.wait()
        except TimeoutError:
            return
        finally:
            self._tools.releaser.failed.clear()


__all__ = ["Sweep"]
