"""Compare the processing lists of the worker with what the worker has in hand.

A list may hold ids that the worker does not know of (a reply that was lost on the way), or lack ids that it holds (Redis
was wiped). Every few seconds, and soon after any error of Redis, both are compared: strays are taken in like any
delivery, and what is missing is put back, so that a reap after our death finds it (docs/pitfalls.md#p3).

Ids come and go while the list is on its way here. So whoever looks odd is looked at twice: what a pull has just brought is
known by then, and what a release has just taken is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from msgspec import Struct

from leaseq.dispatch.deliveries import Deliveries
from leaseq.dispatch.dispatcher import MOST_HELD
from leaseq.errors import ServerUnreachable
from leaseq.ledger.locked import AGAIN_SECONDS
from leaseq.supervisor.protocol import FEW_QUEUES
from leaseq.telemetry import emit
from leaseq.worker.intake import Intake
from leaseq.worker.tools import Tools

RECHECK_SECONDS = 0.1


class Differences(Struct, frozen=True):
    """What is in a list and should not be, and what should be in it and is not."""

    unknown: list[str]
    garbage: list[bytes]
    missing: list[str]

    def __bool__(self) -> bool:
        return bool(self.unknown or self.garbage or self.missing)


class ListAudit:
    """Compares the processing lists with what is in hand."""

    def __init__(self, tools: Tools, intakes: Mapping[str, Intake]) -> None:
        self._tools = tools
        self._intakes = intakes

    async def run_once(self) -> None:
        if self._tools.locked:
            await self._take_in_freed()
        for queue in await self._queues_to_audit():
            intake = self._intakes[queue]
            first = await self._look(queue)
            if not first:
                continue
            await asyncio.sleep(RECHECK_SECONDS)
            await self._repair(queue, intake, _both(first, await self._look(queue)))

    async def _queues_to_audit(self) -> list[str]:
        """The queues that may be odd. Of many queues, those where the list holds something, or should."""
        queues = [*self._intakes]
        if len(queues) <= FEW_QUEUES:
            return queues
        should = self._tools.in_flight.queues()
        does = await self._tools.dispatcher.occupied(queues, worker_id=self._tools.worker_id)
        return [queue for queue in queues if queue in should.union(does)]

    async def _look(self, queue: str) -> Differences:
        in_flight = self._tools.in_flight
        before = in_flight.task_ids(queue)
        found = await self._tools.dispatcher.held(queue, worker_id=self._tools.worker_id, limit=MOST_HELD)
        self._intakes[queue].parked_values.add(found.parked, "", reason="not a task id")
        if found.count >= MOST_HELD:  # there is more: look again when this is done
            self._tools.releaser.failed.set()
        return Differences(
            unknown=[task_id for task_id in found.task_ids if task_id not in in_flight],
            garbage=found.garbage,
            # Only what was in hand before the look and still is: an id released in between is rightly gone.
            missing=[task_id for task_id in before.difference(found.task_ids) if task_id in in_flight],
        )

    async def _repair(self, queue: str, intake: Intake, odd: Differences) -> None:
        if odd.missing:
            restored = await self._tools.dispatcher.restore(queue, odd.missing, worker_id=self._tools.worker_id)
            if restored:
                emit("delivery.restored", queue=queue, count=restored)
        if odd.unknown:
            emit("delivery.stray", queue=queue, count=len(odd.unknown), task_id=odd.unknown[0])
        if odd.unknown or odd.garbage:
            await intake.take(Deliveries(odd.unknown, odd.garbage))

    async def _take_in_freed(self) -> None:
        """Take in deliveries whose tasks were locked and are free again."""
        try:
            freed = await self._tools.locked.take_free()
        except ServerUnreachable as error:
            emit("ledger.unreachable", error=str(error), waiting=0)
            return
        await asyncio.gather(*(self._intakes[queue].take(Deliveries(ids, [])) for queue, ids in freed.items()))

    async def wait(self, seconds: float) -> None:
        """Until the next look is due: after `seconds`, immediately when a release has failed, or soon while rows are locked."""
        try:
            async with asyncio.timeout(min(seconds, AGAIN_SECONDS) if self._tools.locked else seconds):
                await self._tools.releaser.failed.wait()
        except TimeoutError:
            return
        finally:
            self._tools.releaser.failed.clear()


def _both(first: Differences, second: Differences) -> Differences:
    """What looked odd twice."""
    unknown, garbage, missing = set(first.unknown), set(first.garbage), set(first.missing)
    return Differences(
        [task_id for task_id in second.unknown if task_id in unknown],
        [value for value in second.garbage if value in garbage],
        [task_id for task_id in second.missing if task_id in missing],
    )


__all__ = ["ListAudit"]
