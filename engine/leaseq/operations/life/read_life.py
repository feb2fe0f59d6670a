"""Read the facts about the past of one task.

Each statement finds its rows by a key, and reads a bounded number of them.
"""

from __future__ import annotations

from leaseq.errors import TaskNotFound
from leaseq.ledger.notices import NoticeLedger
from leaseq.ledger.operation_log import OperationLog
from leaseq.ledger.session import Session
from leaseq.ledger.task_facts import TaskFacts
from leaseq.ledger.task_lists import TaskLists
from leaseq.ledger.tasks import TaskLedger
from leaseq.operations.life.facts import LifeFacts, act_of, refusals_of

MOST_ACTS = 200
# Workers of older attempts are not looked up.
MOST_WORKERS = 60


async def read_life(session: Session, task_id: str, *, tenant: str | None) -> LifeFacts:
    """Read the facts. Raises `TaskNotFound`."""
    task = (await TaskLedger(session).find([task_id], tenant=tenant)).get(task_id)
    facts = TaskFacts(session)
    origin = await facts.read_origin(task_id, tenant=tenant)
    if task is None or origin is None:
        raise TaskNotFound(f"there is no task {task_id}")
    attempts = await TaskLists(session).list_attempts(task_id, tenant=tenant)
    operations = await OperationLog(session).list_on_task(
        task_id, tenant=task.tenant, limit=MOST_ACTS
    )
    notices = await NoticeLedger(session).list_of_task(task_id)
    refusals = refusals_of(notices)
    held = [attempt.worker_id for attempt in attempts[-MOST_WORKERS:]]
    held += [refusal.worker_id for refusal in refusals[-MOST_WORKERS:] if refusal.worker_id]
    held += [task.worker_id] if task.worker_id else []
    return LifeFacts(
        now=origin.now,
        task=task,
        attempts=attempts,
        workers=await facts.find_holders(held),
        acts=[act_of(each) for each in reversed(operations)],
        refusals=refusals,
        replay_of=origin.replay_of,
    )


__all__ = ["read_life"]
