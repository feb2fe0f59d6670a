"""Which tasks wait in the ledger for their turn, because their lane is full?

Asked of dispatch, which alone knows: where a backlog begins is decided there, push by push. One question for many queues; if one
of them has a key of the wrong type, each is asked for itself, so that its trouble stays its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from leaseq.dispatch.backlog import Backlog
from leaseq.dispatch.survey import Survey
from leaseq.errors import ServerUnreachable
from leaseq.model import Glimpse, Lane
from leaseq_reaper.apart import Apart

Backlogs = Mapping[str, Mapping[Lane, Backlog]]


async def find_backlogs(survey: Survey, queues: Iterable[str], *, apart: Apart) -> Backlogs:
    """The backlogs of these queues, by queue and lane."""
    names = sorted(set(queues))
    try:
        return await survey.backlogs(names)
    except ServerUnreachable:
        found: dict[str, Mapping[Lane, Backlog]] = {}

        async def ask(queue: str) -> None:
            found.update(await survey.backlogs([queue]))

        await apart.each(names, ask)
        return found


def waits_its_turn(task: Glimpse, backlogs: Backlogs) -> bool:
    """Is this PENDING task part of a backlog? Then no delivery of it is missed."""
    backlog = backlogs.get(task.queue, {}).get(task.lane)
    return backlog is not None and task.task_id >= backlog.cursor


__all__ = ["Backlogs", "find_backlogs", "waits_its_turn"]
