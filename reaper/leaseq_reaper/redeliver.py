"""Push deliveries from a pass, and report which of them arrived.

The push runs in the foreground, unlike that of a submission: no client waits for a pass, and a task
without its delivery is not repaired.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from msgspec import Struct

from leaseq.dispatch.dispatcher import Dispatcher
from leaseq.failpoints import reach
from leaseq.model import Lane, TaskSnapshot
from leaseq_reaper.isolation import AT_ONCE, FailureIsolation


class Redelivered(Struct, frozen=True):
    """The ids of those that are in their lanes now, and those whose lane could not be written to,
    for a reason of its own or because the connection broke just then. The others are part of a
    backlog."""

    taken: list[str]
    failed: list[TaskSnapshot]


async def redeliver(
    dispatcher: Dispatcher, tasks: Sequence[TaskSnapshot], *, isolation: FailureIsolation
) -> Redelivered:
    """Push PENDING tasks to the tails of their lanes, oldest first.

    Raises `ServerUnreachable` with some or none pushed.
    """
    queues: dict[str, dict[Lane, list[TaskSnapshot]]] = defaultdict(lambda: defaultdict(list))
    for task in tasks:
        queues[task.queue][task.lane].append(task)
    taken: list[str] = []
    failed: list[TaskSnapshot] = []

    async def push(queue: str) -> None:
        trouble: Exception | None = None
        # The normal lane first: it is the doorbell, and if it holds a delivery, the others leave no
        # token there.
        for lane in sorted(queues[queue], key=lambda lane: lane is not Lane.NORMAL):
            try:
                reach("redeliver.sending")
                ids = [task.task_id for task in queues[queue][lane]]
                taken.extend(await dispatcher.push(queue, ids, lane=lane, redelivery=True))
            except Exception as error:
                failed.extend(queues[queue][lane])
                trouble = trouble or error
        if trouble is not None:
            raise trouble

    await isolation.each(queues, push, at_once=min(AT_ONCE, len(queues)))
    return Redelivered(taken, failed)


__all__ = ["Redelivered", "redeliver"]
