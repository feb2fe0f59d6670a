"""Take in work: from a lane, through the worker's list, to a running attempt.

One loop for each queue: wait for a free slot, pull what fits, and wait at the doorbell while there
is nothing. Every delivery goes through `take`, however it arrived (by a lost reply, from the list
audit, in a rebuilt queue): claim the PENDING tasks, run those that are ours in the ledger, release
the rest. A delivery is a reason to ask the ledger, and nothing more.

Values in Redis are hostile. A lane may hold any number of ids that no worker can claim: unknown, of
other queues, of tasks that have ended. After a full pull of which nothing could be claimed, the
next one takes more, up to `MAX_PULLED`, however few slots are free. So a hundred thousand of them
are gone in a few hundred round trips. One event with a count tells of each kind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic

from leaseq.batch_pause import BatchPause
from leaseq.dispatch.deliveries import Deliveries, PullCode
from leaseq.dispatch.dispatcher import MAX_PULLED
from leaseq.errors import ServerUnreachable
from leaseq.loop import Pauses, Retries, pause
from leaseq.model import ClaimedTask
from leaseq.observability.telemetry import emit
from leaseq.worker.in_flight import Arrivals, InFlightDelivery
from leaseq.worker.intake.claim import QueueClaims
from leaseq.worker.intake.queue_deliveries import QueueDeliveries
from leaseq.worker.intake.queue_source import QueueSource
from leaseq.worker.slots import Slots

PAUSED_SECONDS = 0.5
SLOT_SECONDS = 0.05
# A doorbell that was silent for so long rings for one task, which is claimed immediately.
QUIET_SECONDS = 0.005
PAUSES = Pauses(0.2, growth=2.0, cap=1.0)
# How much more a pull takes than the one before, which was full and of no use.
GROWTH = 4


class Intake:
    """The intake of one queue. `start` is called with each task that was claimed."""

    def __init__(
        self,
        source: QueueSource,
        *,
        deliveries: QueueDeliveries,
        claims: QueueClaims,
        slots: Slots,
        start: Callable[[ClaimedTask, InFlightDelivery], None],
    ) -> None:
        self.deliveries = deliveries
        self._source = source
        self._claims = claims
        self._slots = slots
        self._start = start
        self._least = 0  # the next pull asks for at least so many
        self._pause = BatchPause()
        self._is_lane_empty = True  # the pull before took the last delivery

    async def run(self, stop: asyncio.Event) -> None:
        """Take in work until `stop` is set. Ends within one block of the doorbell."""
        queue = self.deliveries.queue
        retries = Retries(
            PAUSES,
            report=lambda error: emit("dispatch.unreachable", queue=queue, error=str(error)),
            stop=stop,
        )
        while not stop.is_set():
            try:
                await self._source.sleep()
                if self._claims.is_barred:
                    await pause(PAUSED_SECONDS, stop=stop)
                elif not stop.is_set():
                    await self._round(stop)
                if retries.failures:
                    retries.failures = 0
                    emit("dispatch.returned", queue=queue)
                    self.deliveries.audit_soon()  # a reply may have been lost
            except ServerUnreachable as error:
                await retries.wait(error)

    async def _round(self, stop: asyncio.Event) -> None:
        await self._slots.wait_for_quick_ends()
        while self._slots.free <= 0:
            await self._slots.wait()
            if stop.is_set():
                return
        self._source.is_idle = False
        # While deliveries wait in the lane, a free slot does not.
        if self._is_lane_empty:
            await self._pause.fill()
        asked = max(self._slots.free, self._least)
        found = await self._source.pull(asked)
        self._is_lane_empty = found.count < asked
        self._pause.begin(found.count)
        if found.code is not PullCode.OK:
            # Paused; or dispatch does not know this worker (any more): its supervisor learns that
            # too, and renews the lease or ends this process.
            self.deliveries.parked_values.report()
            await pause(PAUSED_SECONDS, stop=stop)
            self._source.is_idle = True
        elif found.count:
            begun = await self.take(found)
            useless = not begun and not self._claims.refused and found.count >= asked
            self._least = min(GROWTH * asked, MAX_PULLED) if useless else 0
        elif not stop.is_set():
            began = monotonic()
            self._least = 0
            self.deliveries.parked_values.report()
            arrived = await self._source.wait()
            self._pause.begin(arrived.count)
            # or it stays in the list, and the closing of this worker brings it back
            if not stop.is_set():
                await (self.take if monotonic() - began > QUIET_SECONDS else self._take_with_more)(
                    arrived
                )
        if self._claims.refused:
            self._claims.refused = False
            await pause(PAUSED_SECONDS, stop=stop)

    async def take(self, found: Deliveries) -> int:
        """Turn deliveries in the worker's list into running attempts; returns how many were
        begun."""
        return await self._begin_and_clear(
            self.deliveries.add(found.task_ids), found.garbage, parked=found.parked
        )

    async def _take_with_more(self, arrived: Deliveries) -> None:
        """Take the delivery that rang the doorbell, and those that came meanwhile.

        In a stream of work both share one claim. The first delivery is in flight before the pull:
        during a slow pull a list audit would find it unknown.
        """
        first = self.deliveries.add(arrived.task_ids)
        try:
            more = await self._source.pull(max(self._slots.free - len(arrived.task_ids), 0))
        except BaseException:
            self.deliveries.forget(first.new)
            raise
        second = self.deliveries.add(more.task_ids)
        again = [task_id for task_id in more.task_ids if task_id in arrived.task_ids]
        both = Arrivals(first.new + second.new, again + second.duplicates)
        await self._begin_and_clear(both, arrived.garbage + more.garbage, parked=more.parked)

    async def _begin_and_clear(
        self, arrivals: Arrivals, garbage: Sequence[bytes], *, parked: int
    ) -> int:
        begun = await self._begin(arrivals.new)
        await self.deliveries.clear(arrivals.duplicates, garbage, parked=parked)
        return begun

    async def _begin(self, new: Sequence[InFlightDelivery]) -> int:
        """Claim and start as many as slots are free; returns how many were started."""
        slots = self._slots
        if self._least:  # the pull before this one brought nothing that could be claimed
            new = await self.deliveries.sift(new)
        if new and slots.free <= 0:
            # Another queue took the slots during the pull, and gives them back in a moment if its
            # handlers are quick.
            try:
                await slots.wait_for_one(SLOT_SECONDS)
            except BaseException:
                self.deliveries.forget(new)
                raise
        fitting = new[: max(slots.free, 0)]
        slots.take(len(fitting))
        unstarted = {delivery.task_id: delivery for delivery in fitting}
        try:
            if len(fitting) < len(new):
                await self.deliveries.hand_back(new[len(fitting) :])
            for claimed in await self._claims.claim(fitting) if fitting else ():
                self._start(claimed, unstarted.pop(claimed.claim.task_id))
            return len(fitting) - len(unstarted)
        finally:
            self.deliveries.forget(unstarted.values())
            for _ in unstarted:
                slots.give_back()
                slots.mark_settled()


__all__ = ["Intake"]
