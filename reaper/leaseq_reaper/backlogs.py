"""The tasks that wait in the ledger because their lane is full.

Only dispatch knows where a backlog begins, because pushes decide that there. Many queues are read
in one round trip.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from leaseq.dispatch.backlog import Backlog
from leaseq.dispatch.survey import Survey
from leaseq.model import Lane, TaskSnapshot

Backlogs = Mapping[str, Mapping[Lane, Backlog]]


async def find_backlogs(survey: Survey, queues: Iterable[str]) -> Backlogs:
    """The backlogs of these queues, by queue and lane. Queues without any are omitted."""
    found = await survey.backlogs_of(sorted(set(queues)))
    return {queue: lanes for queue, lanes in found.items() if lanes}


def waits_its_turn(task: TaskSnapshot, backlogs: Backlogs) -> bool:
    """Whether this PENDING task is part of a backlog. Then no delivery of it is missing."""
    backlog = backlogs.get(task.queue, {}).get(task.lane)
    return backlog is not None and task.task_id >= backlog.cursor


__all__ = ["Backlogs", "find_backlogs", "waits_its_turn"]
