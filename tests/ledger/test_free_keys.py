"""A freed key stands for one new task, and the old one does not run again."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest

from leaseq.codec import FIRST_ID, LAST_ID
from leaseq.config import Config
from leaseq.connections.postgres_pool import Pool
from leaseq.errors import TaskConflict, TaskNotFound
from leaseq.ledger.maintenance import Maintenance
from leaseq.ledger.session import Connection, Session
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.model import Claim, State, Submission
from leaseq.operations.open_engine import open_engine
from support.ledger import (
    RETENTION,
    cancelled,
    claim_task,
    errored,
    find,
    holding,
    open_worker,
    submission,
    submit,
    succeeded,
    until_blocked,
)

KEY = ("default", "order-1")


def resubmission() -> Submission:
    return submission(idempotency_key="order-1")


@pytest.fixture
async def worker(worker_ledger: WorkerLedger) -> str:
    return await open_worker(worker_ledger)


@pytest.fixture
async def failed(ledger: TaskLedger, worker: str) -> Claim:
    claim = await claim_task(ledger, await submit(ledger, idempotency_key="order-1"), worker)
    await ledger.settle([errored(claim, then=State.FAILED)])
    return claim


def other(pool: Pool) -> TaskLedger:
    return TaskLedger(Session(pool, deadline_seconds=30))


async def owner(ledger: TaskLedger) -> str | None:
    """The task that the key stands for."""
    found = await ledger.find_keys([KEY])
    return found[KEY].submitted.task_id if found else None


async def test_a_freed_key_stands_for_the_next_submission(
    ledger: TaskLedger, failed: Claim
) -> None:
    assert await ledger.free_keys([failed.task_id], tenant="acme") == []
    assert await owner(ledger) == failed.task_id
    assert await ledger.free_keys([failed.task_id], tenant="default") == [failed.task_id]
    assert await ledger.free_keys([failed.task_id], tenant="default") == []

    again = resubmission()
    assert (await ledger.submit([again], retention_seconds=RETENTION))[again.task_id] is not None

    task = await find(ledger, failed.task_id)
    assert (task.state, task.idempotency_key) == (State.FAILED, "order-1")
    assert task.key_freed_at is not None
    assert (await find(ledger, again.task_id)).key_freed_at is None
    assert await owner(ledger) == again.task_id
    # It must not take the key from its successor.
    assert await ledger.free_keys([failed.task_id], tenant=None) == []
    assert await owner(ledger) == again.task_id


@pytest.mark.parametrize(("ending", "freed"), [(succeeded, False), (cancelled, True)])
async def test_only_the_key_of_a_task_without_success_is_freed(
    ledger: TaskLedger, worker: str, ending: Any, freed: bool
) -> None:
    task_id = await submit(ledger, idempotency_key="order-1")
    assert await ledger.free_keys([task_id], tenant=None) == []
    claim = await claim_task(ledger, task_id, worker)
    assert await ledger.free_keys([task_id], tenant=None) == []
    await ledger.settle([ending(claim)])
    assert await ledger.free_keys([task_id], tenant=None) == ([task_id] if freed else [])
    assert (await owner(ledger) is None) is freed


async def test_the_reason_of_a_refusal(
    config: Config, ledger: TaskLedger, plain: Connection
) -> None:
    async with open_engine(config, name="leaseq test") as engine:
        client = engine.for_tenant("default")
        keyless = (await engine.submit(submission())).task_id
        keyed = (await engine.submit(resubmission())).task_id
        with pytest.raises(TaskConflict, match="without an idempotency key"):
            await client.free_key(keyless)
        with pytest.raises(TaskConflict, match="is PENDING; only the key of"):
            await client.free_key(keyed)
        with pytest.raises(TaskNotFound):
            await engine.for_tenant("acme").free_key(keyed)
        await client.cancel(keyed)
        await plain.execute("delete from leaseq.idempotency_keys")
        with pytest.raises(TaskConflict, match="has expired"):
            await client.free_key(keyed)
        await client.redrive(keyed)  # its key was not freed on purpose


async def test_a_task_whose_key_was_freed_is_not_redriven(
    config: Config, ledger: TaskLedger, plain: Connection, failed: Claim
) -> None:
    async with open_engine(config, name="leaseq test") as engine:
        client = engine.for_tenant("default")
        await client.free_key(failed.task_id)
        await client.free_key(failed.task_id)
        with pytest.raises(TaskConflict, match="was freed: another task may have run under it"):
            await client.redrive(failed.task_id)
    # Nor by a process of an older version.
    with pytest.raises(psycopg.errors.CheckViolation):
        await plain.execute("update leaseq.tasks set state = 'SCHEDULED', finished_at = null")


async def test_free_against_free(
    pool: Pool, plain: Connection, ledger: TaskLedger, failed: Claim
) -> None:
    async with holding(pool) as held:
        assert await TaskLedger(held).free_keys([failed.task_id], tenant=None)
        waiting = asyncio.ensure_future(other(pool).free_keys([failed.task_id], tenant=None))
        await until_blocked(plain, waiting)
    assert await waiting == []


async def test_free_before_redrive(
    pool: Pool, plain: Connection, ledger: TaskLedger, failed: Claim
) -> None:
    async with holding(pool) as held:
        assert await TaskLedger(held).free_keys([failed.task_id], tenant=None)
        waiting = asyncio.ensure_future(other(pool).redrive([failed.task_id], tenant="default"))
        await until_blocked(plain, waiting)
    assert await waiting == []
    assert (await find(ledger, failed.task_id)).state is State.FAILED


async def test_redrive_before_free(
    pool: Pool, plain: Connection, ledger: TaskLedger, failed: Claim
) -> None:
    async with holding(pool) as held:
        assert await TaskLedger(held).redrive([failed.task_id], tenant="default")
        waiting = asyncio.ensure_future(other(pool).free_keys([failed.task_id], tenant=None))
        await until_blocked(plain, waiting)
    assert await waiting == []
    assert await owner(ledger) == failed.task_id


async def test_a_submission_that_meets_the_freeing_of_its_key_makes_the_new_task(
    pool: Pool, plain: Connection, ledger: TaskLedger, failed: Claim
) -> None:
    again = resubmission()
    async with holding(pool) as held:
        await TaskLedger(held).free_keys([failed.task_id], tenant=None)
        waiting = asyncio.ensure_future(
            other(pool).submit([again], retention_seconds=RETENTION, patience_seconds=20)
        )
        await until_blocked(plain, waiting)
    assert (await waiting)[again.task_id] is not None
    assert await owner(ledger) == again.task_id


async def test_of_many_submissions_after_a_freeing_one_makes_the_task(
    config: Config, failed: Claim
) -> None:
    async with open_engine(config, name="leaseq test") as engine:
        answers = await asyncio.gather(
            *(engine.submit(resubmission()) for _ in range(10)),
            engine.for_tenant("default").free_key(failed.task_id),
            *(engine.submit(resubmission()) for _ in range(10)),
        )
        found = {answer.task_id for answer in answers if answer is not None}
        assert len(found - {failed.task_id}) <= 1
        after = await asyncio.gather(*(engine.submit(resubmission()) for _ in range(10)))
    (new,) = {answer.task_id for answer in after}
    assert new != failed.task_id
    assert found <= {new, failed.task_id}


async def test_prune_and_erase_leave_the_key_to_its_new_task(
    ledger: TaskLedger, maintenance: Maintenance, failed: Claim
) -> None:
    await ledger.free_keys([failed.task_id], tenant=None)
    again = resubmission()
    await ledger.submit([again], retention_seconds=RETENTION)
    await ledger.erase([failed.task_id], tenant=None)
    await maintenance.prune_tasks(after=FIRST_ID, before=LAST_ID, retention_seconds=0, limit=10)
    found = (await ledger.find_keys([KEY]))[KEY]
    assert (found.submitted.task_id, found.submitted.state) == (again.task_id, State.PENDING)
    assert found.fingerprint == again.fingerprint
