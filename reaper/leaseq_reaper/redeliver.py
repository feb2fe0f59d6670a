"""How does a pass place deliveries, so that it knows whether they arrived?

In the foreground, unlike a submission's: a pass has nobody waiting for it, and what it could not place is not repaired.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from leaseq.dispatch.dispatcher import Dispatcher
from leaseq.model import Glimpse, Lane, Settled


async def redeliver(dispatcher: Dispatcher, tasks: Sequence[Glimpse | Settled]) -> None:
    """Push PENDING tasks to the tails of their lanes, oldest first. Raises `ServerUnreachable` with some or none pushed."""
    lanes: dict[tuple[str, Lane], list[str]] = defaultdict(list)
    for task in tasks:
        lanes[task.queue, task.lane].append(task.task_id)
    for (queue, lane), task_ids in lanes.items():
        await dispatcher.push(queue, sorted(task_ids), lane=lane)


__all__ = ["redeliver"]
