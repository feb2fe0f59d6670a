"""Conditions in statements that no other test missed when they were left out.

Each test fails if the condition that its name tells of is removed (docs/chaos.md, Mutants).
"""

from __future__ import annotations

import pytest

from leaseq.connections.postgres_connection import Connection
from leaseq.ledger.maintenance import Maintenance
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.model import Claim
from support.ledger import (
    claim_task,
    errored,
    find,
    open_worker,
    promote_due,
    released,
    scheduled,
    submit,
    succeeded,
)

KEY = "order-1"
LEAST, MOST = "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"


@pytest.fixture
async def worker_id(worker_ledger: WorkerLedger) -> str:
    return await open_worker(worker_ledger)


async def test_pruning_a_task_leaves_a_key_that_names_another(
    ledger: TaskLedger, maintenance: Maintenance, plain: Connection, worker_id: str
) -> None:
    """The key of the first task expired and was used again; the second task is the one that it
    names."""
    first = await submit(ledger, idempotency_key=KEY)
    await ledger.settle([succeeded(await claim_task(ledger, first, worker_id))])
    await plain.execute("delete from leaseq.idempotency_keys")
    await submit(ledger, idempotency_key=KEY)
    pruned = await maintenance.prune_tasks(after=LEAST, before=MOST, retention_seconds=0, limit=100)
    assert pruned.count == 1
    cursor = await plain.execute(
        "select final_state from leaseq.idempotency_keys where key = %s", (KEY,)
    )
    assert await cursor.fetchall() == [(None,)]


async def test_pruning_a_task_leaves_its_state_with_its_key(
    ledger: TaskLedger, maintenance: Maintenance, plain: Connection, worker_id: str
) -> None:
    task_id = await submit(ledger, idempotency_key=KEY)
    await ledger.settle([succeeded(await claim_task(ledger, task_id, worker_id))])
    await maintenance.prune_tasks(after=LEAST, before=MOST, retention_seconds=0, limit=100)
    cursor = await plain.execute(
        "select final_state from leaseq.idempotency_keys where key = %s", (KEY,)
    )
    assert await cursor.fetchall() == [("SUCCESS",)]


async def test_an_ending_without_an_error_keeps_the_error_of_an_earlier_attempt(
    ledger: TaskLedger, worker_id: str
) -> None:
    task_id = await submit(ledger)
    await ledger.settle([errored(await claim_task(ledger, task_id, worker_id), delay=0)])
    before = (await find(ledger, task_id)).error
    assert before is not None
    await ledger.settle([released(await _claimed_again(ledger, task_id, worker_id))])
    assert (await find(ledger, task_id)).error == before
    await ledger.settle([succeeded(await claim_task(ledger, task_id, worker_id))])
    assert (await find(ledger, task_id)).error is None


async def test_a_retry_moves_a_row_that_was_left_in_the_schedule(
    ledger: TaskLedger, plain: Connection, worker_id: str
) -> None:
    """A row that is too early would start the retry before its time, and one that is too late would
    hold it up."""
    for left in ("-1 hour", "1 hour"):
        task_id = await submit(ledger)
        claim = await claim_task(ledger, task_id, worker_id)
        await plain.execute(
            "insert into leaseq.scheduled (task_id, run_at, queue, priority)"
            " select id, now() + %s::interval, queue, priority from leaseq.tasks where id = %s",
            (left, task_id),
        )
        await ledger.settle([errored(claim, delay=60.0)])
        assert task_id in await scheduled(plain)
        cursor = await plain.execute(
            "select s.run_at = t.run_at from leaseq.scheduled as s join leaseq.tasks as t on t.id = s.task_id where t.id = %s",
            (task_id,),
        )
        assert await cursor.fetchall() == [(True,)]


async def _claimed_again(ledger: TaskLedger, task_id: str, worker_id: str) -> Claim:
    assert await promote_due(ledger, limit=10) == [task_id]
    return await claim_task(ledger, task_id, worker_id)
