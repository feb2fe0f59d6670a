"""Deliver due tasks: delayed tasks, retries, and those of a caller's transaction.

A batch holds some tasks of each place (a queue and a priority), so that a million due tasks in one
lane do not delay the others. It holds no more tasks of a lane than the lane has room for: the
others stay SCHEDULED, and are read again in the next pass. Due tasks go before the backlog of their
lane (refill.py), since they were submitted earlier, but not always: the two alternate (promote_allowance.py).
Tasks that are younger than the backlog are refused by the push and become part of it. Every pass
takes a share of every place with room, however many there are and however slow the stores are. Only
the work beyond that first share depends on the time, and on room for another large batch: a lane
that is being drained always has a little room, and small batches cost several times as much a task.

One statement lists the tasks that are due by the clock of Postgres, and a second one promotes
exactly these. It skips rows that another transaction has locked, so any number of reapers may
promote at the same time, no task is promoted twice, and one locked task does not delay the others.

This reaper owns the window "promoted, not pushed" while it lives: `_unsent` is pushed before any
further promotion, so a Redis that is lost or full strands at most one batch, and a lane that cannot
be written little more than one of its queue. If the reaper dies, the reconciler owns it. The same
holds for the window "promoted, the answer lost". The ids of that statement are kept (`_doubtful`)
until each task is seen in another state than SCHEDULED, and those that are PENDING are pushed. No
time limit ends this: a delayed network or a frozen server may execute the statement at any later
time, and it can only take tasks that are still SCHEDULED as they were listed.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from leaseq.dispatch.queue_lists import QueueLane
from leaseq.failpoints import reach
from leaseq.ledger.due_tasks import Due, DuePlace, Listed, Promoted
from leaseq.lifecycle import LANES
from leaseq.metrics.tally import TALLY
from leaseq.model import Priority, State
from leaseq.observability.telemetry import emit, listening
from leaseq.operations.stores import Stores
from leaseq_reaper.duties.due_positions import DuePositions
from leaseq_reaper.duties.promote_allowance import PromoteAllowance
from leaseq_reaper.duties.suspicion import Clock
from leaseq_reaper.duty_runner import IdleBackoff
from leaseq_reaper.isolation import FailureIsolation
from leaseq_reaper.redeliver import redeliver_lanes

BATCH = 1000
# Places that share a batch. A batch of one place costs as much as one of many.
PLACES = 50
# After its first share of every place, a pass that promotes for longer than this leaves the rest to
# the next.
PASS_SECONDS = 1.0
# If nothing was due for ten passes, a read costs more than it brings: half as many are made.
QUIET_FACTOR = 2.0
# A statement without an answer may be executed late. Its tasks are read in the next pass, and then
# at this interval.
DOUBT_SECONDS = 1.0
# Written by a process of an older version: it may be of any queue.
UNKNOWN = ""


class Promote:
    """The duty."""

    def __init__(self, stores: Stores, *, clock: Clock = time.monotonic) -> None:
        self._ledger = stores.tasks
        self._due_tasks = stores.due_tasks
        self._dispatcher = stores.dispatcher
        self._lists = stores.lists
        self._isolation = FailureIsolation(stores)
        self._clock = clock
        self._positions = DuePositions(clock)
        self._allowance = PromoteAllowance(stores.lane_backlogs, window=self._dispatcher.window)
        self._unsent: dict[QueueLane, list[str]] = {}  # promoted, not pushed
        self._doubtful: set[str] = set()  # ids of batches whose promotion was not answered
        self._doubt_at = clock()
        self._turn = 0
        self.idle = IdleBackoff(QUIET_FACTOR)

    async def run_once(self) -> None:
        """Promote due tasks, as far as there is room for them."""
        until = self._clock() + PASS_SECONDS
        await self._find_out()
        await self._send()
        known = self._positions.begin()
        due: Sequence[Due] = await self._due_tasks.find_due(known)
        self._positions.end()
        self.idle.note(found=bool(due))
        # Each pass begins with another place, so that an error which cuts passes short does not
        # always come from the same place.
        self._turn += 1
        first = self._turn % max(len(due), 1)
        rest = await self._round([(one, 1) for one in [*due[first:], *due[:first]]])
        while rest and self._clock() < until:
            rest = await self._round(rest)
        self._isolation.raise_first()

    async def _find_out(self) -> None:
        """Deliver tasks that a promotion without an answer has promoted. Tasks that are still
        SCHEDULED stay in doubt."""
        if not self._doubtful or self._clock() < self._doubt_at:
            return
        snapshots = await self._ledger.find_snapshots(sorted(self._doubtful))
        for snapshot in snapshots.values():
            if snapshot.state is State.PENDING:
                lane = snapshot.queue, snapshot.lane
                self._unsent.setdefault(lane, []).append(snapshot.task_id)
        self._doubtful = {
            snapshot.task_id for snapshot in snapshots.values() if snapshot.state is State.SCHEDULED
        }
        self._doubt_at = self._clock() + DOUBT_SECONDS

    async def _round(self, due: Sequence[tuple[Due, int]]) -> list[tuple[Due, int]]:
        """A share of each place that has room for so many tasks. Returns where more may be due, and
        how much room the next share needs."""
        more: list[tuple[Due, int]] = []
        rooms = await self._rooms([one for one, _ in due])
        open_ones = [
            (one, room) for one, least in due if (room := rooms.get(one.place, 0)) >= least
        ]
        for start in range(0, len(open_ones), PLACES):
            more += await self._promote(open_ones[start : start + PLACES])
        return more

    async def _promote(self, places: Sequence[tuple[Due, int]]) -> list[tuple[Due, int]]:
        """One batch, in each place at most so many. Returns what `_round` does."""
        unsent: Counter[str] = Counter()
        for (queue, _), task_ids in self._unsent.items():
            unsent[queue] += len(task_ids)
        share = max(BATCH // len(places), 1)
        shares = [
            (due, min(share, room))
            for due, room in places
            if (unsent.total() if due.queue == UNKNOWN else unsent[due.queue]) < BATCH
        ]
        if not shares:
            return []
        listed = await self._due_tasks.list_due(shares)
        promoted = await self._take(listed)
        counts = self._note(promoted)
        self._positions.promoted([(one.rest, n) for one in listed if (n := counts[one.place])])
        await self._tell_and_send(promoted)
        # Continue behind the last listed task, so that any number of locked tasks at the head of a
        # place is skipped. Where there was one, a small share may be all that a lane has room for.
        large = min(BATCH, self._dispatcher.window // 2)
        return [
            (one.rest, 1 if counts[one.place] < one.count else large)
            for one, (_, limit) in zip(listed, shares, strict=True)
            if one.count == limit
        ]

    def _note(self, promoted: Sequence[Promoted]) -> Counter[DuePlace]:
        """These are to be pushed. Returns how many there are of each place."""
        counts: Counter[DuePlace] = Counter()
        for one in promoted:
            counts[one.place] += len(one.task_ids)
            self._unsent.setdefault((one.queue, one.lane), []).extend(one.task_ids)
        for (queue, priority), count in counts.items():
            self._allowance.promoted(queue, LANES[Priority(priority)], count)
        return counts

    async def _take(self, listed: Sequence[Listed]) -> list[Promoted]:
        """Promote the listed tasks, and keep them in doubt if no answer comes."""
        if not any(one.count for one in listed):
            return []
        try:
            promoted = await self._due_tasks.promote(listed)
        except BaseException:
            self._doubtful.update(task_id for one in listed for task_id in one.task_ids)
            self._doubt_at = self._clock()
            raise
        if self._doubtful:
            self._doubtful.difference_update(*[one.task_ids for one in promoted])
        if sum(one.count for one in listed) > sum(len(one.task_ids) for one in promoted):
            left = {task_id for one in listed for task_id in one.task_ids}
            left.difference_update(*[one.task_ids for one in promoted])
            await self._due_tasks.discard_due([*left])
        return promoted

    async def _rooms(self, due: Sequence[Due]) -> dict[tuple[str, int], int]:
        """How many more tasks each place may take."""
        lanes = {
            (one.queue, LANES[Priority(one.priority)]): one.place
            for one in due
            if one.queue != UNKNOWN
        }
        lengths = await self._lists.lengths([*lanes])
        rooms = {lanes[lane]: self._dispatcher.window - length for lane, length in lengths.items()}
        for lane, most in (await self._allowance.allowances(lanes)).items():
            rooms[lanes[lane]] = min(rooms.get(lanes[lane], 0), most)
        return rooms | {one.place: BATCH for one in due if one.queue == UNKNOWN}

    async def _tell_and_send(self, promoted: Sequence[Promoted]) -> None:
        if promoted:
            reach("promote.committed")
        for one in promoted:
            TALLY.count("leaseq_tasks_promoted_total", one.queue, amount=len(one.task_ids))
        if listening("task.promoted"):
            for one in promoted:
                for task_id in one.task_ids:
                    emit("task.promoted", task_id=task_id, queue=one.queue, lane=one.lane)
        await self._send()

    async def _send(self) -> None:
        # Pushed twice when the answer was lost: legal, the claim is a compare-and-set.
        if self._unsent:
            self._unsent = (
                await redeliver_lanes(self._dispatcher, self._unsent, isolation=self._isolation)
            ).failed
            reach("promote.sent")


__all__ = ["Promote"]
