"""How does a pass place deliveries, so that it knows whether they arrived?

In the foreground, unlike a submission's: a pass has nobody waiting for it, and what it could not place is not
repaired.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from leaseq.dispatch.dispatcher import Dispatcher
from leaseq.failpoints import reach
from leaseq.model import Glimpse, Lane, Settled
from leaseq_reaper.apart import Apart


async def redeliver(dispatcher: Dispatcher, tasks: Sequence[Glimpse | Settled], *, apart: Apart) -> list[str]:
    """Push PENDING tasks to the tails of their lanes, oldest first. Returns those that are there now; the others are part of a
    backlog.

    Raises `ServerUnreachable` with some or none pushed. What a broken lane does not take is left to the reconciler.
    """
    lanes: dict[tuple[str, Lane], list[str]] = defaultdict(list)
    for task in tasks:
        lanes[task.queue, task.lane].append(task.task_id)
    taken: list[str] = []

    async def push(place: tuple[str, Lane]) -> None:
        queue, lane = place
        reach("redeliver.sending")
        taken.extend(await dispatcher.push(queue, lanes[place], lane=lane, again=True))

    await apart.each(lanes, push)
    return taken


__all__ = ["redeliver"]
