"""How does what waits in the ledger come into its lane, in order, and nothing be missed?

A push finds its lane full and is refused: the task is PENDING in the ledger, and from its id on the lane has a backlog
(dispatch/backlog.py). When the lane is half empty, a pass goes along the primary key from there on, stretch by stretch:

1. it measures a stretch of as many tasks as there is room for;
2. it announces the stretch: from now on a push of what lies in it is taken, not refused;
3. it reads the stretch. Whoever was refused there was refused before 2, was committed before that, and is seen;
4. it pushes what is PENDING, and lets the backlog begin behind it, bite by bite, each a compare-and-set.

If fewer tasks are left than there is room for, the stretch has no end, and the backlog ends with it. Without step 2 a task that
is committed while the stretch is being read, and refused, would lie before the backlog and in no lane.

Two refills at once: one wins each compare-and-set, the other lets go. One that died is continued by anybody: what it announced
is announced still. Some of a stretch may be in the lane already: pushed before the backlog began, by a client that was quicker
than another, or since the stretch was announced. So the lane is read when a backlog is not as this duty left it, where that
reading has shown a part of the stretch, and for a stretch that has no end. (What is pushed into one that has an end while it is
being read may be delivered twice; the claim decides, as ever.) Where a lane shares the ledger with busier ones, most of what is
looked at is theirs; so a pass ends with its time, not with its work.
"""

from __future__ import annotations

import time

from msgspec import Struct

from leaseq.codec import LAST_ID, next_id
from leaseq.dispatch.backlog import Backlog
from leaseq.dispatch.dispatcher import BITE
from leaseq.engine.engine import Engine
from leaseq.failpoints import reach
from leaseq.model import Lane
from leaseq.telemetry import emit
from leaseq_reaper.apart import Apart
from leaseq_reaper.backlogs import find_backlogs
from leaseq_reaper.suspicion import Clock

STRETCH = 5000
# A pass goes on for so long, shared by the lanes that want something.
PASS_SECONDS = 0.5
# A queue that is new has an empty lane, and may be seen a little later.
NAMES_SECONDS = 2.0


class Full(Struct, frozen=True):
    """A lane with a backlog, and when to leave it to the next pass."""

    queue: str
    lane: Lane
    backlog: Backlog
    until: float


class Refill:
    """The duty."""

    def __init__(self, engine: Engine, *, clock: Clock = time.monotonic) -> None:
        self._fleet = engine.stores.fleet
        self._upkeep = engine.stores.upkeep
        self._dispatcher = engine.stores.dispatcher
        self._survey = engine.stores.survey
        self._window = engine.stores.dispatcher.window
        self._apart = Apart(engine.stores)
        self._clock = clock
        # The backlog as we left it, and what of it was in the lane already when we last looked.
        self._left: dict[tuple[str, Lane], tuple[bytes, set[str]]] = {}
        self._names: list[str] = []
        self._names_until = clock()

    async def run_once(self) -> None:
        """Look at every queue, and fill the lanes that are half empty."""
        backlogs = await find_backlogs(self._survey, await self._queues(), apart=self._apart)
        places = [(queue, lane, backlog) for queue, lanes in backlogs.items() for lane, backlog in lanes.items()]

        async def fill(place: tuple[str, Lane, Backlog]) -> None:
            await self._fill(Full(*place, self._clock() + PASS_SECONDS / len(places)))

        await self._apart.each(places, fill)
        self._apart.complain()

    async def _queues(self) -> list[str]:
        if self._clock() >= self._names_until:
            self._names = [record.name for record in await self._fleet.list_queues()]
            self._names_until = self._clock() + NAMES_SECONDS
        return self._names

    async def _fill(self, full: Full) -> None:
        backlog: Backlog | None = full.backlog
        length = await self._survey.length(full.queue, full.lane)
        if 2 * length >= self._window:
            return
        while backlog is not None and length < self._window and self._clock() < full.until:
            backlog = await self._bring_in(full, backlog, room=self._window - length)
            length = await self._survey.length(full.queue, full.lane)

    async def _bring_in(self, full: Full, seen: Backlog, *, room: int) -> Backlog | None:
        """One stretch. Returns the backlog as it is then; None if there is none, or if somebody else is at it."""
        limit = min(STRETCH, room)
        text, ahead = self._left.pop((full.queue, full.lane), (b"", set[str]()))
        as_left = text == seen.text
        if seen.until is None:
            announced = seen.announce(await self._upkeep.find_boundary(cursor=seen.cursor, limit=limit) or LAST_ID)
            if not await self._dispatcher.refill(full.queue, [], lane=full.lane, seen=seen, left=announced):
                return None
            reach("refill.announced")
            seen = announced
        end = seen.until or LAST_ID
        # One more than was measured, to see whether that was all: somebody else may have announced more.
        stretch = await self._upkeep.read_stretch(full.queue, full.lane, cursor=seen.cursor, until=end, limit=limit + 1)
        reach("refill.read")
        left: Backlog | None = None
        if stretch.last_id is not None and stretch.looked_at > limit:
            left = seen.later(next_id(stretch.last_id))
        elif end != LAST_ID:
            left = Backlog.of(end)
        if not as_left or end == LAST_ID or not ahead.isdisjoint(stretch.task_ids):
            ahead = await self._survey.ahead(full.queue, full.lane, cursor=seen.cursor)
        fresh = [task_id for task_id in stretch.task_ids if task_id not in ahead]
        after = await self._push(full, fresh, seen=seen, left=left)
        if after is not None and after.until is None:
            self._left[full.queue, full.lane] = after.text, {task_id for task_id in ahead if task_id >= after.cursor}
        return after

    async def _push(self, full: Full, fresh: list[str], *, seen: Backlog, left: Backlog | None) -> Backlog | None:
        while True:
            bite, fresh = fresh[:BITE], fresh[BITE:]
            after = seen.later(fresh[0]) if fresh else left
            if not await self._dispatcher.refill(full.queue, bite, lane=full.lane, seen=seen, left=after):
                return None
            reach("refill.pushed")
            if bite:
                emit("delivery.refilled", queue=full.queue, lane=full.lane, count=len(bite))
            if after is None:
                emit("backlog.ended", queue=full.queue, lane=full.lane)
            if after is None or not fresh:
                return after
            seen = after


__all__ = ["Refill"]
