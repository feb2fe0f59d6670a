"""Alternate promote and refill at a lane with both due tasks and a backlog.

Promote fills a lane in every pass, and refill waits until a lane is half empty. With many due tasks
(a bulk redrive, a million retries) the lane would never be half empty, and its backlog would not
move until the last of them is done. So promote brings half a window into such a lane, and then
leaves it alone until its backlog has moved. Then each has half of the lane.

A backlog that ends, or that moves without a task, is a turn of refill as well, so neither waits for
the other for long.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from leaseq.dispatch.lane_backlogs import LaneBacklogs
from leaseq.dispatch.queue_lists import QueueLane
from leaseq.model import Lane


class PromoteAllowance:
    """How much promote may bring into lanes with a backlog."""

    def __init__(self, backlogs: LaneBacklogs, *, window: int) -> None:
        self._lane_backlogs = backlogs
        self._most = max(window // 2, 1)
        self._cursors: dict[QueueLane, str] = {}
        self._brought: dict[QueueLane, int] = {}

    async def allowances(self, wanted: Iterable[QueueLane]) -> Mapping[QueueLane, int]:
        """How many tasks promote may still bring into these lanes; those without a backlog are left
        out."""
        wanted = set(wanted)
        queues = (
            {queue for queue, _ in wanted} & set(await self._lane_backlogs.queues())
            if wanted
            else set()
        )
        backlogs = await self._lane_backlogs.read_many(sorted(queues))
        cursors = {
            (queue, lane): backlog.cursor
            for queue, lanes in backlogs.items()
            for lane, backlog in lanes.items()
        }
        self._brought = {
            lane: n
            for lane, n in self._brought.items()
            if self._cursors.get(lane) == cursors.get(lane)
        }
        self._cursors = cursors
        return {
            lane: max(self._most - self._brought.get(lane, 0), 0)
            for lane in wanted
            if lane in cursors
        }

    def promoted(self, queue: str, lane: Lane, count: int) -> None:
        """So many were promoted for a lane."""
        if (queue, lane) in self._cursors:
            self._brought[queue, lane] = self._brought.get((queue, lane), 0) + count


__all__ = ["PromoteAllowance"]
