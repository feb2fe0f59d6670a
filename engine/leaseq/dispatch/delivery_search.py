"""Find where dispatch has the delivery of one task, for a person who looks at it.

Reads the lanes of one queue and the processing lists of its open workers, within a time. A lane
holds a window of deliveries, so that the work is bounded; a list of any other length ends at the
time limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from leaseq.dispatch.backlog import WINDOWED
from leaseq.dispatch.lane_backlogs import LaneBacklogs
from leaseq.dispatch.leases import WorkerLeases
from leaseq.dispatch.queue_lists import LISTED, QueueLists
from leaseq.errors import ServerUnreachable
from leaseq.model import Lane


class DeliveryPlace(Struct, frozen=True):
    """The lane that holds a delivery, and how many are before and behind it there. None: not
    shown."""

    lane: Lane
    before: int | None
    behind: int | None


class DispatchFacts(Struct, frozen=True, kw_only=True):
    """Dispatch, seen from one task."""

    place: DeliveryPlace | None = None
    holders: list[str] = []  # workers whose processing lists hold the delivery
    lengths: dict[Lane, int] = {}  # of the lanes of its queue
    heads: list[str] = []  # the first ids of these lanes, without that of suspects
    # set: a part of the lane of the task waits in the ledger, since then and from this id on
    backlog_since: datetime | None = None
    backlog_cursor: str | None = None
    backlogs: list[Lane] = []  # the lanes of its queue with a backlog
    window: int = 0
    lease_left_seconds: float | None = None  # of the worker that runs the task


class DeliverySearch:
    """Searches dispatch for one delivery at a time."""

    def __init__(
        self, lists: QueueLists, leases: WorkerLeases, backlogs: LaneBacklogs, *, window: int
    ) -> None:
        self._lists = lists
        self._leases = leases
        self._backlogs = backlogs
        self._window = window

    async def find(
        self,
        queue: str,
        task_id: str,
        *,
        lane: Lane,
        worker_ids: Sequence[str],
        seconds: float,
    ) -> DispatchFacts:
        """Search for the delivery of a task whose lane this is. `worker_ids` are those whose lists
        may hold it, the worker that runs it first. Raises `ServerUnreachable`."""
        try:
            async with asyncio.timeout(seconds):
                return await self._find(queue, task_id, lane, worker_ids)
        except TimeoutError:
            raise ServerUnreachable(f"Redis did not answer within {seconds:g} s") from None

    async def _find(
        self, queue: str, task_id: str, lane: Lane, worker_ids: Sequence[str]
    ) -> DispatchFacts:
        lengths = await self._lists.lengths([(queue, each) for each in LISTED])
        backlogs = await self._backlogs.read(queue)
        mine = backlogs.get(lane)
        return DispatchFacts(
            place=await self._place(queue, task_id, lane),
            holders=await self._lists.held_by(queue, worker_ids, task_id),
            lengths={each: length for (_, each), length in lengths.items()},
            heads=await self._lists.heads(queue, sorted(WINDOWED)),
            backlog_since=None if mine is None or task_id < mine.cursor else mine.since,
            backlog_cursor=None if mine is None else mine.cursor,
            backlogs=sorted(backlogs),
            window=self._window,
            lease_left_seconds=await self._lease_left(queue, worker_ids[:1]),
        )

    async def _place(self, queue: str, task_id: str, lane: Lane) -> DeliveryPlace | None:
        """Its own lane first. A task that has just become a suspect may be in another one."""
        for each in sorted(LISTED, key=lambda other: other is not lane):
            found = await self._lists.position(queue, each, task_id)
            if found is not None:
                return DeliveryPlace(each, *found)
        return None

    async def _lease_left(self, queue: str, worker_ids: Sequence[str]) -> float | None:
        if not worker_ids:
            return None
        views = await self._leases.list_leases(queue)
        left = [view.left_ms / 1000 for view in views if view.worker_id == worker_ids[0]]
        return left[0] if left else None


__all__ = ["DeliveryPlace", "DeliverySearch", "DispatchFacts"]
