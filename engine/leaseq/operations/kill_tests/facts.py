"""The facts about the tasks of a kill test, as the ledger has them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct

from leaseq.ledger.followed import FollowedTask, FollowedTasks
from leaseq.ledger.notices import NoticeLedger
from leaseq.ledger.session import Session
from leaseq.model import AttemptRecord
from leaseq.operations.kill_tests.protocol import KillTest
from leaseq.operations.life.facts import refusals_of


class KillTestFacts(Struct, frozen=True, kw_only=True):
    """The tasks after the fault. `ends`: their attempts without success, from the one before the fault
    on, the oldest first. `refused`: endings of the shown task that its fence refused."""

    now: datetime
    tasks: Mapping[str, FollowedTask]
    ends: Mapping[str, list[AttemptRecord]]
    refused: int = 0


async def read_facts(session: Session, test: KillTest, *, now: datetime) -> KillTestFacts:
    """Read the facts. `now`: the time of Postgres, at most a second old."""
    followed = FollowedTasks(session)
    before = {task.task_id: task.attempt for task in test.tasks}
    refused = 0
    if test.task_id is not None:
        refused = len(refusals_of(await NoticeLedger(session).list_of_task(test.task_id)))
    return KillTestFacts(
        now=now,
        tasks=await followed.find_followed(list(before)),
        ends=await followed.list_ends({each: n - 1 for each, n in before.items()}),
        refused=refused,
    )


__all__ = ["KillTestFacts", "read_facts"]
