"""Remember deliveries that were found in a lane while the lane does not change.

While no worker takes from a lane, the scans meet its tasks again and again. A task that was found
in its lane is there as long as the lane has the same length and ends with the same delivery: a pull
makes a lane shorter, and a push changes its end. So a comparison is remembered, Postgres omits the
tasks that it covers (`scan_tasks.sql`), and all lanes are read in one reply (`ends.lua`).

Invariants:
- A task is remembered under its attempt. A claim increments the attempt, so a task that has run
  since is compared again.
- The reads before and after a comparison agree, and a later read is at most LOOK_SECONDS old when
  it is trusted. So a lane that has lost a delivery is compared again in the first scan that comes
  to its tasks after that time.
- A comparison is trusted for at most COMPARED_SECONDS. This bounds the one loss that a read does
  not show: a delivery vanishes and another one comes in at the head, between two reads.
- After a loss of data in dispatch no comparison counts (`forget`).
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct

from leaseq.dispatch.queue_lists import End, QueueLane, QueueLists
from leaseq.model import TaskSnapshot
from leaseq_reaper.duties.suspicion import Clock
from leaseq_reaper.isolation import FailureIsolation

LOOK_SECONDS = 5.0
COMPARED_SECONDS = 60.0
# Remembered deliveries. The tasks of further ones are compared in every scan.
MOST = 50_000


class ComparedLane(Struct):
    """A lane at its comparison: its state, the time, the last read, and the deliveries found in
    it."""

    end: End
    since: float
    looked_at: float
    task_ids: set[str]


class KnownDeliveries:
    """Compares tasks with their lanes, and remembers the deliveries."""

    def __init__(
        self, lists: QueueLists, *, isolation: FailureIsolation, clock: Clock = time.monotonic
    ) -> None:
        self._lists = lists
        self._isolation = isolation
        self._clock = clock
        self._lanes: dict[QueueLane, ComparedLane] = {}
        self._tasks: dict[str, tuple[int, QueueLane]] = {}  # the attempt, and the lane
        self._order: list[str] | None = []

    async def find(
        self, candidates: Mapping[QueueLane, Mapping[str, TaskSnapshot]]
    ) -> tuple[set[str], int]:
        """The ids that are in their lanes, and the length of these lanes. A lane that cannot be
        read holds none of them."""
        self._drop_old()
        before = await self._look_at(candidates)
        wanted = {lane: candidates[lane].keys() for lane in before}
        lengths = {lane: end.length for lane, end in before.items()}
        found = await self._isolation.sort_out(await self._lists.delivered(wanted, lengths=lengths))
        after = await self._look_at([lane for lane, task_ids in found.items() if task_ids])
        for lane, end in after.items():
            if end == before[lane]:
                self._remember(lane, end, [candidates[lane][task_id] for task_id in found[lane]])
        return set().union(*found.values()), sum(lengths.values())

    async def behind(self, cursor: str, *, limit: int) -> dict[str, int]:
        """The first `limit` remembered tasks with ids after this one, with their attempts, in lanes
        that have not changed."""
        if self._order is None:
            self._order = sorted(self._tasks)
        first = bisect_right(self._order, cursor)
        task_ids = self._order[first : first + limit]
        self._drop_old()
        await self._look_again(
            {self._tasks[task_id][1] for task_id in task_ids if task_id in self._tasks}
        )
        return {task_id: self._tasks[task_id][0] for task_id in task_ids if task_id in self._tasks}

    def forget(self) -> None:
        """Dispatch may have lost deliveries: discard all comparisons."""
        self._lanes, self._tasks, self._order = {}, {}, []

    async def _look_again(self, lanes: Collection[QueueLane]) -> None:
        """Drop lanes that have changed."""
        now = self._clock()
        due = [lane for lane in lanes if now >= self._lanes[lane].looked_at + LOOK_SECONDS]
        ends = await self._look_at(due)
        for lane in due:
            if ends.get(lane) == self._lanes[lane].end:
                self._lanes[lane].looked_at = now
            else:
                self._drop(lane)

    async def _look_at(self, lanes: Collection[QueueLane]) -> dict[QueueLane, End]:
        return await self._lists.ends([*lanes]) if lanes else {}

    def _remember(self, lane: QueueLane, end: End, tasks: Sequence[TaskSnapshot]) -> None:
        now = self._clock()
        known = self._lanes.get(lane)
        if known is None or known.end != end:
            self._drop(lane)
            known = self._lanes[lane] = ComparedLane(end, now, now, set())
        known.looked_at = now
        for task in tasks[: MOST - len(self._tasks)]:
            known.task_ids.add(task.task_id)
            self._tasks[task.task_id] = task.attempt, lane
        self._order = None

    def _drop_old(self) -> None:
        """Discard comparisons that are too old."""
        old = self._clock() - COMPARED_SECONDS
        for lane in [lane for lane, standing in self._lanes.items() if standing.since <= old]:
            self._drop(lane)

    def _drop(self, lane: QueueLane) -> None:
        standing = self._lanes.pop(lane, None)
        if standing is not None:
            for task_id in standing.task_ids:
                self._tasks.pop(task_id, None)
            self._order = None


__all__ = ["KnownDeliveries"]
