"""How does a pass place deliveries, so that it knows whether they arrived?

In the foreground, unlike a submission's: a pass has nobody waiting for it, and what it could not place is not
repaired.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Generic, TypeVar

from msgspec import Struct

from leaseq.dispatch.dispatcher import Dispatcher
from leaseq.failpoints import reach
from leaseq.model import Glimpse, Lane, Settled
from leaseq_reaper.apart import Apart

T = TypeVar("T", Glimpse, Settled)


class Redelivered(Struct, Generic[T], frozen=True):
    """The ids of those that are in their lanes now, and those whose lane could not be written to, for a reason of its own or
    because the connection broke just then. The others are part of a backlog."""

    taken: list[str]
    failed: list[T]


async def redeliver(dispatcher: Dispatcher, tasks: Sequence[T], *, apart: Apart) -> Redelivered[T]:
    """Push PENDING tasks to the tails of their lanes, oldest first.

    Raises `ServerUnreachable` with some or none pushed.
    """
    lanes: dict[tuple[str, Lane], list[T]] = defaultdict(list)
    for task in tasks:
        lanes[task.queue, task.lane].append(task)
    taken: list[str] = []
    failed: list[T] = []

    async def push(place: tuple[str, Lane]) -> None:
        queue, lane = place
        try:
            reach("redeliver.sending")
            taken.extend(await dispatcher.push(queue, [task.task_id for task in lanes[place]], lane=lane, again=True))
        except Exception:
            failed.extend(lanes[place])
            raise

    await apart.each(lanes, push)
    return Redelivered(taken, failed)


__all__ = ["Redelivered", "redeliver"]
