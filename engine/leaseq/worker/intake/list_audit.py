"""Compare the worker's processing lists with its deliveries in flight.

A list may hold ids that the worker does not know of (a reply was lost on the way), or lack ids that
the worker holds (Redis was wiped). Every few seconds, and soon after any error of Redis, both are
compared. Unknown ids are taken in like any delivery. Missing ids are put back, so that the recovery
of this worker finds them after its death (docs/pitfalls.md#p3).

Invariant: only a difference that two looks have found is repaired. Ids come and go while a list is
on its way here. By the second look the worker knows what a pull had just brought, and what a
release had just taken is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from msgspec import Struct

from leaseq.dispatch.deliveries import Deliveries
from leaseq.dispatch.dispatcher import MAX_HELD, Dispatcher
from leaseq.errors import ServerUnreachable
from leaseq.ledger.locked_tasks import LOCK_RECHECK_SECONDS
from leaseq.loop import Pauses, Retries
from leaseq.observability.telemetry import emit
from leaseq.supervisor.protocol import FEW_QUEUES
from leaseq.worker.in_flight import InFlight
from leaseq.worker.intake.intake import Intake
from leaseq.worker.intake.locked_deliveries import LockedDeliveries
from leaseq.worker.release import Releaser

AUDIT_SECONDS = 3.0
RECHECK_SECONDS = 0.1
PAUSES = Pauses(1.0)


class Differences(Struct, frozen=True):
    """The ids that a list holds and should not, the values in it that are no ids, and the ids that
    it lacks."""

    unknown: list[str]
    garbage: list[bytes]
    missing: list[str]

    def __bool__(self) -> bool:
        return bool(self.unknown or self.garbage or self.missing)


class ListAudit:
    """Audits the processing lists of one worker."""

    def __init__(
        self,
        intakes: Mapping[str, Intake],
        *,
        worker_id: str,
        dispatcher: Dispatcher,
        in_flight: InFlight,
        locked: LockedDeliveries,
        releaser: Releaser,
    ) -> None:
        self._intakes = intakes
        self._worker_id = worker_id
        self._dispatcher = dispatcher
        self._in_flight = in_flight
        self._locked = locked
        self._releaser = releaser

    async def run(self, stop: asyncio.Event) -> None:
        """Audit until `stop` is set. `wake` makes it look at that."""
        retries = Retries(
            PAUSES,
            report=lambda error: emit("dispatch.unreachable", error=str(error)),
            every=True,
            stop=stop,
        )
        while not stop.is_set():
            await self._wait(AUDIT_SECONDS)
            if stop.is_set():
                return  # what arrived since is brought back by the closing of this worker
            try:
                await self.run_once()
            except ServerUnreachable as error:
                await retries.wait(error)

    def wake(self) -> None:
        """Look now."""
        self._releaser.failed.set()

    async def run_once(self) -> None:
        """Take in the deliveries whose rows are free again, and repair each list that is wrong."""
        if self._locked:
            await self._take_in_freed()
        for queue in await self._queues_to_audit():
            first = await self._compare(queue)
            if not first:
                continue
            await asyncio.sleep(RECHECK_SECONDS)
            await self._repair(queue, _in_both(first, await self._compare(queue)))

    async def _queues_to_audit(self) -> list[str]:
        """The queues whose lists may be wrong. Of many queues, those where the list holds
        something, or should."""
        queues = [*self._intakes]
        if len(queues) <= FEW_QUEUES:
            return queues
        should = self._in_flight.queues()
        does = await self._dispatcher.occupied(queues, worker_id=self._worker_id)
        return [queue for queue in queues if queue in should.union(does)]

    async def _compare(self, queue: str) -> Differences:
        in_flight = self._in_flight
        before = in_flight.task_ids(queue)
        found = await self._dispatcher.held(queue, worker_id=self._worker_id, limit=MAX_HELD)
        self._intakes[queue].deliveries.parked_values.add(found.parked, "", reason="not a task id")
        if found.count >= MAX_HELD:  # there is more: look again when this is done
            self.wake()
        return Differences(
            unknown=[task_id for task_id in found.task_ids if task_id not in in_flight],
            garbage=found.garbage,
            # Only ids that were in flight before the look and still are: one that was released in
            # between is rightly gone.
            missing=[
                task_id for task_id in before.difference(found.task_ids) if task_id in in_flight
            ],
        )

    async def _repair(self, queue: str, differences: Differences) -> None:
        if differences.missing:
            restored = await self._dispatcher.restore(
                queue, differences.missing, worker_id=self._worker_id
            )
            if restored:
                emit("delivery.restored", queue=queue, count=restored)
        if differences.unknown:
            emit(
                "delivery.stray",
                queue=queue,
                count=len(differences.unknown),
                task_id=differences.unknown[0],
            )
        if differences.unknown or differences.garbage:
            await self._intakes[queue].take(Deliveries(differences.unknown, differences.garbage))

    async def _take_in_freed(self) -> None:
        """Take in deliveries whose tasks were locked and are free again."""
        try:
            freed = await self._locked.take_free()
        except ServerUnreachable as error:
            emit("ledger.unreachable", error=str(error), waiting=0)
            return
        await asyncio.gather(
            *(self._intakes[queue].take(Deliveries(ids, [])) for queue, ids in freed.items())
        )

    async def _wait(self, seconds: float) -> None:
        """Wait until the next look is due: after `seconds`, immediately when a release has failed,
        soon while rows are locked."""
        try:
            async with asyncio.timeout(
                min(seconds, LOCK_RECHECK_SECONDS) if self._locked else seconds
            ):
                await self._releaser.failed.wait()
        except TimeoutError:
            return
        finally:
            self._releaser.failed.clear()


def _in_both(first: Differences, second: Differences) -> Differences:
    """The differences that both looks have found."""
    unknown, garbage, missing = set(first.unknown), set(first.garbage), set(first.missing)
    return Differences(
        [task_id for task_id in second.unknown if task_id in unknown],
        [value for value in second.garbage if value in garbage],
        [task_id for task_id in second.missing if task_id in missing],
    )


__all__ = ["ListAudit"]
