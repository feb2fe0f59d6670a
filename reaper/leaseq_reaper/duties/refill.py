"""Bring waiting tasks from the ledger into their lane, in order and completely.

A push finds its lane full and is refused: the task is PENDING in the ledger, and from its id on the
lane has a backlog (dispatch/backlog.py). When the lane is half empty, a pass goes along the primary
key from there on, range by range:

1. it measures a range with as many tasks of this lane as there is room for;
2. it announces the range: from now on a push of an id within it is accepted, not refused;
3. it reads the range. A task within it that was refused was refused before 2, had been committed
   before that, and is seen;
4. it pushes the PENDING tasks, and moves the beginning of the backlog behind them, batch by batch,
   each by a compare-and-set.

If fewer tasks are left than there is room for, the range has no end, and the backlog ends with
it. Without step 2 a task that is committed while the range is being read, and refused, would lie
before the backlog and in no lane.

Two concurrent refills: one wins each compare-and-set, the other stops. Any reaper continues the
refill of one that died, because its announcement still stands. Part of a range may already be in
the lane: pushed before the backlog began, by a client that was quicker than another, or since the
range was announced. So the lane is read when a backlog is not as this duty left it, when that
reading has shown a part of the range, and for a range without an end. (A push into a range
with an end, while it is being read, may be delivered twice; the claim decides, as always.)

If a lane shares the ledger with busier ones, most of the examined tasks are theirs. So a range is
bounded by the number of examined tasks, and the more lanes need tasks, the shorter it is. Every
lane gets one range in each pass, several lanes at a time, and further ones while the time of the
pass lasts. Queues are read only if a push has begun a backlog (a hash in dispatch names them, with
a new mark at each beginning; the scan of the reconciler finds missing names). While the lanes of a
queue stay full and its mark stays the same, only the lengths of these lanes are read, and less
often.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from msgspec import Struct

from leaseq.codec import LAST_ID, next_id
from leaseq.dispatch.backlog import Backlog
from leaseq.dispatch.queue_lists import QueueLane
from leaseq.dispatch.scripts import SCRIPT_BATCH
from leaseq.failpoints import reach
from leaseq.ledger.backlogs import BacklogBatch
from leaseq.model import Lane
from leaseq.observability.telemetry import emit
from leaseq.operations.stores import Stores
from leaseq_reaper.duties.suspicion import Clock
from leaseq_reaper.duty_runner import IdleBackoff
from leaseq_reaper.isolation import AT_ONCE, FailureIsolation

# Lanes under way together. Their concurrent requests to a store are sent together.
LANES_AT_ONCE = 1000
LONGEST_RANGE = 5000
SHORTEST_RANGE = 500
# Tasks that a pass looks at in the first ranges of all lanes together.
LOOKED_AT = 100_000
# After its first range a lane continues for its share of this.
PASS_SECONDS = 0.5
# Passes are rarer where every backlog stands still: one begins with a lane that is full, so no
# worker waits for it.
QUIET_FACTOR = 10.0
# Looks at lanes that stay full: from one to the next, the time doubles up to this. It is shorter
# than one of the rarer passes, so that each of them looks, and a lane that is half empty waits for
# a second.
IDLE_SECONDS = 0.2
IDLE_CAP_SECONDS = 0.75
# While the lengths of its lanes stay what they were, and no push has begun a backlog, the backlogs
# of a queue are read at every thirtieth look. A client of an older version does not tell of a
# backlog that it begins in another lane.
READ_EVERY = 30


class FullLane(Struct, frozen=True):
    """A lane with a backlog, how many tasks a range of it may hold, and for how long the pass
    goes on with it."""

    queue: str
    lane: Lane
    backlog: Backlog
    room: int  # for deliveries, as it was measured a moment ago
    rows: int
    seconds: float


class IdleQueue(Struct):
    """A queue whose lanes were full at the last look, with these lengths, and when to look again.
    `times`: looks that found no change so far. `mark`: of the last backlog that a push had begun in
    this queue, before its backlogs were read."""

    mark: str
    lanes: list[QueueLane]
    lengths: list[int]
    until: float
    seconds: float = 0.0
    times: int = 0

    def rest(self, now: float) -> None:
        """One more look has found no change."""
        self.seconds = min(max(2 * self.seconds, IDLE_SECONDS), IDLE_CAP_SECONDS)
        self.until = now + self.seconds
        self.times += 1


class Refill:
    """The duty."""

    def __init__(self, stores: Stores, *, clock: Clock = time.monotonic) -> None:
        self._backlogs = stores.backlogs
        self._dispatcher = stores.dispatcher
        self._lists = stores.lists
        self._lane_backlogs = stores.lane_backlogs
        self._window = stores.dispatcher.window
        self._isolation = FailureIsolation(stores)
        self._clock = clock
        # The backlog as we left it, and what of it was in the lane already when we last looked.
        self._known: dict[QueueLane, tuple[bytes, set[str]]] = {}
        self._idle: dict[str, IdleQueue] = {}
        self._marks: Mapping[str, str] = {}
        self._turn = 0
        self.idle = IdleBackoff(QUIET_FACTOR)

    async def run_once(self) -> None:
        """Fill the lanes that are half empty."""
        named = await self._lane_backlogs.queues()
        now = self._clock()
        if named != self._marks:
            self._marks = named
            self._idle = {
                queue: idle for queue, idle in self._idle.items() if named.get(queue) == idle.mark
            }
        queues = [
            queue for queue in named if queue not in self._idle or now >= self._idle[queue].until
        ]
        queues = await self._changed(queues)
        backlogs = await self._lane_backlogs.read_many(sorted(queues))
        await self._unname([queue for queue in queues if queue not in backlogs])
        await self._fill_all(await self._half_empty(backlogs))
        self.idle.note(
            found=any(
                queue not in self._idle or self._idle[queue].seconds < IDLE_CAP_SECONDS
                for queue in named
            )
        )
        self._isolation.raise_first()

    async def _changed(self, queues: Sequence[str]) -> list[str]:
        """Without those whose lanes are as long as they were. Of these the backlogs are read now
        and then all the same."""
        resting = {
            queue: idle
            for queue in queues
            if (idle := self._idle.get(queue)) and idle.times % READ_EVERY
        }
        lanes = [lane for idle in resting.values() for lane in idle.lanes]
        lengths = await self._lists.lengths(lanes) if lanes else {}
        now = self._clock()
        unchanged = set()
        for queue, idle in resting.items():
            if [lengths.get(lane, -1) for lane in idle.lanes] == idle.lengths:
                idle.rest(now)
                unchanged.add(queue)
        return [queue for queue in queues if queue not in unchanged]

    async def _unname(self, queues: Sequence[str]) -> None:
        """These have no backlog. One may have begun since we looked, and been named before we take
        the name away."""
        if queues:
            await self._lane_backlogs.remove(queues)
            begun = await self._lane_backlogs.read_many(sorted(queues))
            if begun:
                await self._lane_backlogs.add([*begun])

    async def _half_empty(
        self, backlogs: Mapping[str, Mapping[Lane, Backlog]]
    ) -> list[tuple[str, Lane, Backlog, int]]:
        """The lanes that want something. Queues in which none does are looked at less often while
        nothing moves."""
        with_backlog = [(queue, lane) for queue, lanes in backlogs.items() for lane in lanes]
        lengths = await self._lists.lengths(with_backlog)
        wanting = [
            one for one in with_backlog if one in lengths and 2 * lengths[one] < self._window
        ]
        busy = {queue for queue, _ in wanting}
        for queue, lanes in backlogs.items():
            self._rest(
                queue,
                {(queue, lane): lengths.get((queue, lane), -1) for lane in lanes},
                busy=queue in busy,
            )
        return [
            (queue, lane, backlogs[queue][lane], self._window - lengths[queue, lane])
            for queue, lane in wanting
        ]

    def _rest(self, queue: str, found: Mapping[QueueLane, int], *, busy: bool) -> None:
        before = self._idle.pop(queue, None)
        if busy:
            return
        now, lanes, lengths = self._clock(), [*found], [*found.values()]
        if before is None or (before.lanes, before.lengths) != (lanes, lengths):
            before = IdleQueue(self._marks[queue], lanes, lengths, now)
        else:
            before.rest(now)
        self._idle[queue] = before

    async def _fill_all(self, lanes: Sequence[tuple[str, Lane, Backlog, int]]) -> None:
        if not lanes:
            return
        self._turn += 1
        first = self._turn % len(lanes)
        at_once = min(LANES_AT_ONCE, len(lanes))
        rows = max(SHORTEST_RANGE, min(LONGEST_RANGE, LOOKED_AT // len(lanes)))
        seconds = PASS_SECONDS * min(AT_ONCE, len(lanes)) / len(lanes)

        async def fill(lane: tuple[str, Lane, Backlog, int]) -> None:
            await self._fill(FullLane(*lane, rows, seconds))

        await self._isolation.each([*lanes[first:], *lanes[:first]], fill, at_once=at_once)

    async def _fill(self, full: FullLane) -> None:
        until = self._clock() + full.seconds
        backlog, room = await self._bring_in(full, full.backlog, room=full.room), 0
        while backlog is not None and self._clock() < until:
            room = self._window - await self._lists.length(full.queue, full.lane)
            if room <= 0:
                return
            backlog = await self._bring_in(full, backlog, room=room)

    async def _bring_in(self, full: FullLane, seen: Backlog, *, room: int) -> Backlog | None:
        """Read and push one range. Returns the backlog afterwards; None if there is none, or if
        another reaper works on it."""
        text, in_lane = self._known.pop((full.queue, full.lane), (b"", set[str]()))
        is_known = text == seen.text
        announced = seen if seen.until is not None else await self._announce(full, seen, room=room)
        if announced is None:
            return None
        seen = announced
        end = seen.until or LAST_ID
        # One more than was measured, to see whether that was all: another reaper may have announced
        # more.
        batch = await self._backlogs.read_backlog(
            full.queue, full.lane, cursor=seen.cursor, until=end, limit=full.rows + 1
        )
        reach("refill.read")
        wanted = batch.task_ids[:room]
        if not is_known or end == LAST_ID or not in_lane.isdisjoint(wanted):
            in_lane = await self._lists.ahead(full.queue, full.lane, cursor=seen.cursor)
        missing = [task_id for task_id in wanted if task_id not in in_lane]
        next_backlog = _backlog_after(seen, batch, wanted=wanted)
        after = await self._push(full, missing, seen=seen, next_backlog=next_backlog)
        if after is not None and after.until is None:
            self._known[full.queue, full.lane] = (
                after.text,
                {task_id for task_id in in_lane if task_id >= after.cursor},
            )
        return after

    async def _announce(self, full: FullLane, seen: Backlog, *, room: int) -> Backlog | None:
        """Measure a range and announce it. None if another reaper works on the backlog."""
        boundary = await self._backlogs.find_boundary(
            full.queue, full.lane, cursor=seen.cursor, limit=full.rows, room=room
        )
        announced = seen.announce(boundary or LAST_ID)
        if not await self._dispatcher.refill(
            full.queue, [], lane=full.lane, seen=seen, left=announced
        ):
            return None
        reach("refill.announced")
        return announced

    async def _push(
        self, full: FullLane, missing: list[str], *, seen: Backlog, next_backlog: Backlog | None
    ) -> Backlog | None:
        while True:
            batch, missing = missing[:SCRIPT_BATCH], missing[SCRIPT_BATCH:]
            after = seen.later(missing[0]) if missing else next_backlog
            if not await self._dispatcher.refill(
                full.queue, batch, lane=full.lane, seen=seen, left=after
            ):
                return None
            reach("refill.pushed")
            if batch:
                emit("delivery.refilled", queue=full.queue, lane=full.lane, count=len(batch))
            if after is None:
                emit("backlog.ended", queue=full.queue, lane=full.lane)
            if after is None or not missing:
                return after
            seen = after


def _backlog_after(seen: Backlog, batch: BacklogBatch, *, wanted: Sequence[str]) -> Backlog | None:
    """The backlog once the wanted tasks of a range are in the lane. None: it ends with them."""
    if len(wanted) < len(batch.task_ids):
        return seen.later(next_id(wanted[-1]))
    if batch.last_id is not None:
        return seen.later(next_id(batch.last_id))
    end = seen.until or LAST_ID
    return None if end == LAST_ID else Backlog.of(end)


__all__ = ["Refill"]
