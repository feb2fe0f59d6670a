"""A change that names the state which a person saw, while the task moves on."""

from __future__ import annotations

import asyncio

import pytest

from leaseq.config import Config
from leaseq.connections.postgres_pool import Pool
from leaseq.errors import TaskMoved
from leaseq.ledger.session import Connection
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.model import State
from leaseq.operations.open_engine import open_engine
from leaseq.operations.seen import Seen
from support.ledger import (
    claim_task,
    errored,
    find,
    holding,
    open_worker,
    promote_due,
    submit,
    succeeded,
    until_blocked,
)


async def test_a_redrive_that_waited_for_the_row_changes_nothing_that_has_moved_on(
    config: Config, pool: Pool, ledger: TaskLedger, worker_ledger: WorkerLedger, plain: Connection
) -> None:
    """Another redrive holds the row. The task runs and fails once more before the first one gets
    it, so that it is FAILED again, at another attempt."""
    worker = await open_worker(worker_ledger)
    task_id = await submit(ledger)
    await ledger.settle([errored(await claim_task(ledger, task_id, worker), then=State.FAILED)])
    async with open_engine(config, name="test") as engine:
        client = engine.for_tenant("default")
        async with holding(pool) as held:
            other = TaskLedger(held)
            assert await other.redrive([task_id], tenant="default", seen=(State.FAILED, 1))
            late = asyncio.create_task(client.redrive(task_id, seen=Seen(State.FAILED, 1)))
            await until_blocked(plain, late)
        with pytest.raises(TaskMoved, match="SCHEDULED at attempt 1 now") as told:
            await late
        assert told.value.present == "SCHEDULED/1"
        await promote_due(ledger, limit=10)
        await ledger.settle([errored(await claim_task(ledger, task_id, worker), then=State.FAILED)])
        with pytest.raises(TaskMoved, match="FAILED at attempt 2 now"):
            await client.redrive(task_id, seen=Seen(State.FAILED, 1))
    assert (await find(ledger, task_id)).state is State.FAILED


async def test_a_cancellation_that_waited_for_a_settle_changes_nothing(
    config: Config, pool: Pool, ledger: TaskLedger, worker_ledger: WorkerLedger, plain: Connection
) -> None:
    worker = await open_worker(worker_ledger)
    task_id = await submit(ledger)
    claim = await claim_task(ledger, task_id, worker)
    async with open_engine(config, name="test") as engine:
        client = engine.for_tenant("default")
        async with holding(pool) as held:
            assert await TaskLedger(held).settle([errored(claim)])
            late = asyncio.create_task(client.cancel(task_id, seen=Seen(State.PROCESSING, 1)))
            await until_blocked(plain, late)
        with pytest.raises(TaskMoved) as told:
            await late
        assert told.value.present == "SCHEDULED/1"
        assert await client.cancel(task_id, seen=Seen(State.SCHEDULED, 1)) is State.CANCELLED
    other = await submit(ledger)
    await ledger.settle([succeeded(await claim_task(ledger, other, worker))])
    assert await ledger.cancel([other], tenant=None, seen=(State.SUCCESS, 1)) == {}
