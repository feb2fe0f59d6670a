"""Push deliveries from a pass, and report which of them arrived.

The push runs in the foreground, unlike that of a submission: no client waits for a pass, and a task
without its delivery is not repaired.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from msgspec import Struct

from leaseq.dispatch.dispatcher import Dispatcher
from leaseq.dispatch.queue_lists import QueueLane
from leaseq.failpoints import reach
from leaseq.model import Lane, TaskSnapshot
from leaseq_reaper.isolation import AT_ONCE, FailureIsolation


class Redelivered(Struct, frozen=True):
    """The ids of those that are in their lanes now, and those whose lane could not be written to,
    for a reason of its own or because the connection broke just then. The others are part of a
    backlog."""

    taken: list[str]
    failed: dict[QueueLane, list[str]]


async def redeliver(
    dispatcher: Dispatcher, tasks: Sequence[TaskSnapshot], *, isolation: FailureIsolation
) -> Redelivered:
    """Push PENDING tasks to the tails of their lanes, oldest first.

    Raises `ServerUnreachable` with some or none pushed.
    """
    lanes: dict[QueueLane, list[str]] = defaultdict(list)
    for task in tasks:
        lanes[task.queue, task.lane].append(task.task_id)
    return await redeliver_lanes(dispatcher, lanes, isolation=isolation)


async def redeliver_lanes(
    dispatcher: Dispatcher, lanes: Mapping[QueueLane, list[str]], *, isolation: FailureIsolation
) -> Redelivered:
    """As `redeliver`, with the ids of PENDING tasks by lane."""
    queues: dict[str, list[Lane]] = defaultdict(list)
    for queue, lane in lanes:
        queues[queue].append(lane)
    taken: list[str] = []
    failed: dict[QueueLane, list[str]] = {}

    async def push(queue: str) -> None:
        trouble: Exception | None = None
        # The normal lane first: it is the doorbell, and if it holds a delivery, the others leave no
        # token there.
        for lane in sorted(queues[queue], key=lambda lane: lane is not Lane.NORMAL):
            ids = lanes[queue, lane]
            try:
                reach("redeliver.sending")
                taken.extend(await dispatcher.push(queue, ids, lane=lane, redelivery=True))
            except Exception as error:
                failed[queue, lane] = ids
                trouble = trouble or error
        if trouble is not None:
            raise trouble

    await isolation.each(queues, push, at_once=min(AT_ONCE, len(queues)))
    return Redelivered(taken, failed)


__all__ = ["Redelivered", "redeliver", "redeliver_lanes"]
