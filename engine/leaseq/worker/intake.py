"""Take in work: from a ready list, through the worker's own list, to a running attempt.

One loop for each queue: wait for a free slot, pull what fits, and when there is nothing wait at the doorbell.
Whatever arrives, and however often (a lost reply, a stray, a rebuilt queue), goes through `take`: claim what is
PENDING, run what the ledger says is ours, let go of the rest. Nothing is believed of a delivery but that it is worth
asking about.

Values in Redis are hostile. A lane may hold any number of ids that no worker can claim: unknown, of other queues, of tasks that
have ended. After a full pull of which nothing could be claimed, the next one takes more, up to `MOST_PULLED`, however few slots
are free, so that a hundred thousand of them are gone in a few hundred round trips. One event with a count tells of each kind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from time import monotonic

from leaseq.dispatch.deliveries import Deliveries, Place, PullCode, Release
from leaseq.dispatch.dispatcher import MOST_PULLED
from leaseq.dispatch.doorbell import Doorbell
from leaseq.errors import ServerUnreachable
from leaseq.failpoints import reach
from leaseq.ledger.session import Locked
from leaseq.loop import pause
from leaseq.model import ClaimedTask, Glimpse, Lane, State
from leaseq.telemetry import emit, listening
from leaseq.worker.in_flight import Arrivals, InFlightDelivery
from leaseq.worker.lane_watch import LaneWatch
from leaseq.worker.parked_values import ParkedValues
from leaseq.worker.tools import Tools

PAUSED_SECONDS = 0.5
SLOT_SECONDS = 0.05
# A doorbell that was silent for so long rings for one task, which is claimed at once.
QUIET_SECONDS = 0.005
RETRY_SECONDS = 0.2
RETRY_CAP_SECONDS = 1.0
# How much more a pull takes than the one before, which was full and of no use.
GROWTH = 4
# In a cycle of twelve pulls the least urgent lane comes first once, and the one before it once.
TURN_CYCLE = 12
TURNS = {0: 1, 6: 2}


class Intake:
    """The intake of one queue."""

    def __init__(
        self,
        tools: Tools,
        *,
        queue: str,
        lanes: Sequence[Lane],
        doorbell: Doorbell,
        start: Callable[[ClaimedTask, InFlightDelivery], None],
        watch: LaneWatch | None = None,
    ) -> None:
        self._tools = tools
        self._queue = queue
        self._lanes = lanes
        self._doorbell = doorbell
        self._start = start
        self._watch = watch  # of a worker with many queues
        self._idle = True  # is nothing known to wait here?
        self._rounds = 0
        self.parked_values = ParkedValues(queue)
        self._least = 0  # how many the next pull asks for at least
        self._refused = False  # has the ledger kept back what is PENDING, and will it again?

    async def run(self, stop: asyncio.Event) -> None:
        """Take in work until told to stop. Ends within one block of the doorbell."""
        wait = RETRY_SECONDS
        while not stop.is_set():
            try:
                if self._watch is not None and self._idle:
                    await self._watch.sleep(self._queue)
                if self._tools.claimer.is_barred:
                    await pause(PAUSED_SECONDS, stop=stop)
                elif not stop.is_set():
                    await self._round(stop)
                if wait != RETRY_SECONDS:
                    emit("dispatch.returned", queue=self._queue)
                    self._tools.releaser.failed.set()  # a reply may have been lost: look at our lists
                wait = RETRY_SECONDS
            except ServerUnreachable as error:
                if wait == RETRY_SECONDS:  # said once an outage
                    emit("dispatch.unreachable", queue=self._queue, error=str(error))
                await pause(wait, stop=stop)
                wait = min(wait * 2, RETRY_CAP_SECONDS)

    async def _round(self, stop: asyncio.Event) -> None:
        while self._tools.slots.free <= 0:
            await self._tools.slots.wait()
            if stop.is_set():
                return
        self._idle = False
        asked = max(self._tools.slots.free, self._least)
        found = await self._pull(asked)
        if found.code is not PullCode.OK:
            # Paused; or dispatch does not know us (any more): the supervisor is told as much and renews or ends us.
            self.parked_values.report()
            await pause(PAUSED_SECONDS, stop=stop)
            self._idle = True
        elif found.count:
            begun = await self.take(found)
            useless = not begun and not self._refused and found.count >= asked
            self._least = min(GROWTH * asked, MOST_PULLED) if useless else 0
        elif not stop.is_set():
            began = monotonic()
            self._least = 0
            self.parked_values.report()
            arrived = await self._doorbell.wait()
            self._idle = not arrived.task_ids and not arrived.garbage
            if self._idle and self._watch is not None:
                await self._doorbell.hang_up()
            if not stop.is_set():  # or it stays in our list, and closing the incarnation brings it back
                await (self.take if monotonic() - began > QUIET_SECONDS else self._take_with_more)(arrived)
        if self._refused:
            self._refused = False
            await pause(PAUSED_SECONDS, stop=stop)

    async def _pull(self, limit: int) -> Deliveries:
        self._rounds += 1
        return await self._tools.dispatcher.pull(
            self._queue,
            worker_id=self._tools.worker_id,
            limit=limit,
            lanes=self._lanes,
            turn=TURNS.get(self._rounds % TURN_CYCLE, 0),
        )

    async def take(self, found: Deliveries) -> int:
        """Turn deliveries in our list into running attempts; returns how many were begun."""
        return await self._go_on_with(self._tools.in_flight.add(self._queue, found.task_ids), found.garbage, parked=found.parked)

    async def _take_with_more(self, arrived: Deliveries) -> None:
        """Take what rang the doorbell, and what came meanwhile: in a stream of work one claim for both, instead of one each.

        What rang is in hand before the pull, or a sweep during a slow one takes it for a stray.
        """
        taken = self._tools.in_flight.add(self._queue, arrived.task_ids)
        try:
            more = await self._pull(max(self._tools.slots.free - len(arrived.task_ids), 0))
        except BaseException:
            self._forget(taken.new)
            raise
        also = self._tools.in_flight.add(self._queue, more.task_ids)
        again = [task_id for task_id in more.task_ids if task_id in arrived.task_ids]
        both = Arrivals(taken.new + also.new, again + also.duplicates)
        await self._go_on_with(both, arrived.garbage + more.garbage, parked=more.parked)

    async def _go_on_with(self, taken: Arrivals, garbage: Sequence[bytes], *, parked: int) -> int:
        begun = await self._begin(taken.new)
        await self._clear(taken.duplicates, garbage, parked=parked)
        return begun

    def _forget(self, deliveries: Iterable[InFlightDelivery]) -> None:
        """What came to nothing here is a stray again, for the sweep to find."""
        for delivery in deliveries:
            self._tools.in_flight.remove(delivery)

    async def _begin(self, new: Sequence[InFlightDelivery]) -> int:
        """Claim what slots are free for, and start it; returns how many were started."""
        slots = self._tools.slots
        if self._least:
            new = await self._sift(new)
        if new and slots.free <= 0:
            # Another queue took the slots while we pulled, and gives them back in a moment if its handlers are quick ones.
            try:
                await slots.wait_for_one(SLOT_SECONDS)
            except BaseException:
                self._forget(new)
                raise
        fitting = new[: max(slots.free, 0)]
        for _ in fitting:
            slots.take()
        unstarted = {delivery.task_id: delivery for delivery in fitting}
        try:
            if len(fitting) < len(new):
                # They would wait here while another worker may have a slot.
                await self._hand_back(new[len(fitting) :])
            for claimed in await self._claim(fitting) if fitting else ():
                self._start(claimed, unstarted.pop(claimed.claim.task_id))
            return len(fitting) - len(unstarted)
        finally:
            self._forget(unstarted.values())
            for _ in unstarted:
                slots.give_back()
                slots.mark_settled()

    async def _sift(self, deliveries: Sequence[InFlightDelivery]) -> Sequence[InFlightDelivery]:
        """Let go of what cannot be claimed here, and return the rest: the pull before this one brought nothing else."""
        worker_id, queue = self._tools.worker_id, self._queue
        try:
            glimpses = await self._tools.ledger.glimpse([delivery.task_id for delivery in deliveries])
            wanted = {
                glimpse.task_id
                for glimpse in glimpses.values()
                if (glimpse.state is State.PENDING and glimpse.queue == queue) or glimpse.worker_id == worker_id
            }
            await self._let_go([delivery for delivery in deliveries if delivery.task_id not in wanted], glimpses)
        except BaseException:
            self._forget(deliveries)
            raise
        return [delivery for delivery in deliveries if delivery.task_id in wanted]

    async def _claim(self, deliveries: Sequence[InFlightDelivery]) -> list[ClaimedTask]:
        """Claim, wait for a ledger that is away, and account for every id."""
        claimed: list[ClaimedTask] = []
        wait, rest = RETRY_SECONDS, list(deliveries)
        locked: set[str] = set()
        is_careful = bool(self._tools.locked)  # are rows locked, so that a claim may have to wait for one?
        while True:
            try:
                if self._tools.claimer.is_barred:
                    claimed += await self._account(rest, locked)
                    break
                if is_careful:
                    locked = await self._tools.locked.tasks.among([delivery.task_id for delivery in rest])
                reach("claim.sending")
                free = [delivery.task_id for delivery in rest if delivery.task_id not in locked]
                claimed += await self._tools.claimer.claim(free) if free else []
                done = {task.claim.task_id for task in claimed}
                rest = [delivery for delivery in deliveries if delivery.task_id not in done]
                if rest:
                    claimed += await self._account(rest, locked)
                break
            except ServerUnreachable as error:
                if isinstance(error, Locked) and not is_careful:
                    is_careful = True
                    continue
                if isinstance(error, Locked) and await self._find_barred():
                    continue
                # The claim may have been committed: the next round finds what is ours by the account.
                emit("ledger.unreachable", error=str(error), waiting=len(rest))
                await asyncio.sleep(wait)
                wait = min(wait * 2, RETRY_CAP_SECONDS)
        if listening("task.claimed"):
            for task in claimed:
                emit("task.claimed", task_id=task.claim.task_id, attempt=task.claim.attempt, type=task.type)
        return claimed

    async def _find_barred(self) -> bool:
        """Find out whether a claim waits in vain for the row of this incarnation and not for that of a task."""
        worker_id = self._tools.worker_id
        try:
            if await self._tools.fleet.find_locked([worker_id]) and not self._tools.claimer.is_barred:
                self._tools.claimer.is_barred = True
                emit("worker.locked", worker_id=worker_id, verb="claim")
        except ServerUnreachable:
            return False
        return self._tools.claimer.is_barred

    async def _account(self, deliveries: Sequence[InFlightDelivery], locked: AbstractSet[str]) -> list[ClaimedTask]:
        """What of the unclaimed is ours by an earlier claim whose answer was lost.

        The rest is let go of, but for what is `locked`, which is kept.
        """
        glimpses = await self._tools.ledger.glimpse([delivery.task_id for delivery in deliveries])
        ours, others = [], []
        for delivery in deliveries:
            glimpse = glimpses.get(delivery.task_id)
            if glimpse is not None and glimpse.worker_id == self._tools.worker_id:
                emit("attempt.ambiguous", task_id=delivery.task_id, attempt=glimpse.attempt, state=glimpse.state)
                ours.append(delivery.task_id)
            else:
                others.append(delivery)
        claimed = await self._tools.ledger.find_claimed(ours, worker_id=self._tools.worker_id) if ours else []
        # Last, since it cannot fail: a claim that is tried again would claim what was let go of, too.
        others = [
            delivery
            for delivery in others
            if not (delivery.task_id in locked and self._keep(delivery, glimpses.get(delivery.task_id)))
        ]
        await self._let_go(others, glimpses)
        self._refused = any(
            glimpse.state is State.PENDING and glimpse.queue == self._queue
            for delivery in others
            if (glimpse := glimpses.get(delivery.task_id)) is not None
        )
        return claimed

    def _keep(self, delivery: InFlightDelivery, glimpse: Glimpse | None) -> bool:
        """Keep a delivery of this queue until the row of its task is free."""
        if glimpse is None or glimpse.state is not State.PENDING or glimpse.queue != self._queue:
            return False
        if not self._tools.locked.add(delivery):
            return False
        self._tools.releaser.failed.set()  # the sweep shortens its waits
        return True

    async def _let_go(self, deliveries: Sequence[InFlightDelivery], glimpses: Mapping[str, Glimpse]) -> None:
        """The last one first: what goes back to its lane goes to the head of it."""
        if any(delivery.task_id not in glimpses for delivery in deliveries):
            try:
                await self._tools.ownership.check()
            except ServerUnreachable:
                # Ids of another ledger are not ours to park. They stay in the list, and are strays for the sweep.
                self._forget(delivery for delivery in deliveries if delivery.task_id not in glimpses)
                deliveries = [delivery for delivery in deliveries if delivery.task_id in glimpses]
        if deliveries:
            await self._tools.releaser.release_all(self._queue, self._places(deliveries, glimpses))
            self._forget(deliveries)

    def _places(self, deliveries: Sequence[InFlightDelivery], glimpses: Mapping[str, Glimpse]) -> list[Release]:
        """Where each of these goes, in the order in which they are to be released. One event for each kind of them."""
        releases: list[Release] = []
        unknown: list[str] = []
        skipped: list[Glimpse] = []
        for delivery in reversed(deliveries):  # what goes to the head of its lane: the last one first
            glimpse = glimpses.get(delivery.task_id)
            if glimpse is None:
                unknown.append(delivery.task_id)
                releases.append(Release(delivery.task_id, Place.PARKED))
            elif glimpse.state is State.PENDING and glimpse.queue == self._queue:
                # Not to be claimed: its queue is paused (of which a doorbell knows nothing), or we are closed.
                releases.append(Release(delivery.task_id, glimpse.lane))
            else:
                # One in the wrong queue would come back here again and again. It gets a new delivery, in the right place.
                releases.append(Release(delivery.task_id, Place.DONE))
                skipped.append(glimpse)
        if unknown:
            self.parked_values.add(len(unknown), unknown[0], reason="the ledger does not know this id")
        for glimpse in skipped[:1]:
            about = {"task_id": glimpse.task_id, "state": glimpse.state, "attempt": glimpse.attempt}
            emit("delivery.skipped", count=len(skipped), **about, queue=glimpse.queue)
        return releases

    async def _hand_back(self, deliveries: Sequence[InFlightDelivery]) -> None:
        try:
            glimpses = await self._tools.ledger.glimpse([delivery.task_id for delivery in deliveries])
            await self._let_go(deliveries, glimpses)
        finally:
            self._forget(deliveries)

    async def _clear(self, repeated: Sequence[str], garbage: Sequence[bytes], *, parked: int) -> None:
        """What is of no use leaves our list: what is there once more, and what is no task id. `parked`: left it already."""
        odd = [value for value in garbage if value]
        if repeated or odd:
            releases = [*(Release(task_id) for task_id in repeated), *(Release(value, Place.PARKED) for value in odd)]
            await self._tools.releaser.release_all(self._queue, releases)
        self.parked_values.add(len(odd) + parked, repr(odd[0]) if odd else "", reason="not a task id")
        for value in garbage:
            if not value:  # a token: there is work in another lane, and this need not be gone before we look
                self._tools.releaser.put(self._queue, Release(value), _ignore)


def _ignore(_: object) -> None:
    """What became of it is of no interest."""


__all__ = ["Intake"]
