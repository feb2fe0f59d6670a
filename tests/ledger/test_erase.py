"""Erasing leaves a row that holds nothing of a client or a handler, in every race."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest

from leaseq import Leaseq
from leaseq.codec import FIRST_ID, LAST_ID
from leaseq.config import Config
from leaseq.connections.postgres_pool import Pool
from leaseq.errors import IdempotencyKeyReused, TaskConflict, TaskErased
from leaseq.ledger.maintenance import Maintenance
from leaseq.ledger.session import Connection, Locked, Session
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.model import Claim, State
from leaseq.operations.open_engine import open_engine
from support.ledger import (
    RETENTION,
    cancelled,
    claim_task,
    errored,
    find,
    holding,
    list_attempts,
    open_worker,
    promote_due,
    submission,
    submit,
    succeeded,
    until_blocked,
)

Verb = Callable[[Session], Awaitable[Any]]
MARKER = "ada@example.org"
PAYLOAD = f'{{"email":"{MARKER}"}}'.encode()
# The columns of the text form of a row, which shows every value that it has.
CONTENT = """
select t::text from leaseq.tasks t union all select a::text from leaseq.attempts a
union all select encode(fingerprint, 'hex') from leaseq.idempotency_keys
"""


async def content(plain: Connection) -> str:
    return "\n".join(row[0] for row in await (await plain.execute(CONTENT)).fetchall())


def _erase(task_id: str) -> Verb:
    return lambda session: TaskLedger(session).erase([task_id], tenant="default")


def _redrive(task_id: str) -> Verb:
    return lambda session: TaskLedger(session).redrive([task_id], tenant="default")


def _prune() -> Verb:
    return lambda session: Maintenance(session).prune_tasks(
        after=FIRST_ID, before=LAST_ID, retention_seconds=0, limit=10
    )


@pytest.fixture
async def worker(worker_ledger: WorkerLedger) -> str:
    return await open_worker(worker_ledger)


@pytest.fixture
async def failed(ledger: TaskLedger, worker: str) -> Claim:
    """A task that failed twice, reported progress and was submitted with a key; its last claim."""
    task_id = await submit(
        ledger, payload=PAYLOAD, idempotency_key="order-1", headers=b'{"shape":"a"}'
    )
    await ledger.settle([errored(await claim_task(ledger, task_id, worker), delay=0.0)])
    await promote_due(ledger, limit=10)
    claim = await claim_task(ledger, task_id, worker)
    await ledger.set_progress(claim, PAYLOAD)
    await ledger.settle([errored(claim, then=State.FAILED)])
    return claim


async def test_erase_removes_everything_but_the_life_of_the_task(
    ledger: TaskLedger, plain: Connection, failed: Claim
) -> None:
    before = await find(ledger, failed.task_id)
    assert MARKER in await content(plain)
    assert len(await list_attempts(ledger, failed.task_id)) == 2

    assert await ledger.erase([failed.task_id], tenant="default") == [failed.task_id]

    after = await find(ledger, failed.task_id)
    assert (after.state, after.attempt, after.idempotency_key) == (State.FAILED, 2, "order-1")
    assert after.finished_at == before.finished_at
    assert after.erased_at is not None
    assert (after.payload, after.result, after.error, after.progress) == (None, None, None, None)
    assert await list_attempts(ledger, failed.task_id) == []
    left = await content(plain)
    assert MARKER not in left
    assert "did not work" not in left
    assert "shape" not in left
    assert left.split("\n")[-1] == "", "the fingerprint of the key is a hash of the payload"


@pytest.mark.parametrize("ending", [succeeded, cancelled])
async def test_erase_of_any_end(
    ledger: TaskLedger, worker: str, plain: Connection, ending: Any
) -> None:
    task_id = await submit(ledger, payload=PAYLOAD)
    await ledger.settle([ending(await claim_task(ledger, task_id, worker))])

    assert await ledger.erase([task_id], tenant=None) == [task_id]

    assert MARKER not in await content(plain)
    assert (await find(ledger, task_id)).result is None


async def test_erase_takes_ended_tasks_of_its_tenant_once(
    ledger: TaskLedger, worker: str, failed: Claim
) -> None:
    waits, runs = await submit(ledger), await submit(ledger)
    await claim_task(ledger, runs, worker)

    assert await ledger.erase([failed.task_id], tenant="acme") == []
    assert await ledger.erase([waits, runs, failed.task_id], tenant="default") == [failed.task_id]
    erased_at = (await find(ledger, failed.task_id)).erased_at
    assert await ledger.erase([failed.task_id], tenant="default") == []
    assert (await find(ledger, failed.task_id)).erased_at == erased_at


async def test_a_key_goes_on_standing_for_an_erased_task(config: Config) -> None:
    async with open_engine(config, name="leaseq test") as engine:
        said = submission(idempotency_key="order-1", payload=PAYLOAD)
        task_id = (await engine.submit(said)).task_id
        client = engine.for_tenant("default")
        with pytest.raises(IdempotencyKeyReused):
            await engine.submit(
                submission(idempotency_key="order-1", payload=b"{}", fingerprint=b"other")
            )
        with pytest.raises(TaskConflict, match="only a task that has ended can be erased"):
            await client.erase(task_id)
        await client.cancel(task_id)
        await client.erase(task_id)
        await client.erase(task_id)

        again = await engine.submit(submission(idempotency_key="order-1", payload=PAYLOAD))

        assert (again.task_id, again.replayed, again.state) == (task_id, True, State.CANCELLED)
        with pytest.raises(TaskConflict, match="it has no payload any more"):
            await client.redrive(task_id)


async def test_the_result_of_an_erased_task_is_no_null(
    config: Config, ledger: TaskLedger, worker: str
) -> None:
    task_id = await submit(ledger)
    await ledger.settle([succeeded(await claim_task(ledger, task_id, worker))])
    async with Leaseq(config) as app:
        handle = await app.find(task_id)
        assert await handle.result() == 42
        await handle.erase()
        with pytest.raises(TaskErased, match=task_id):
            await handle.result()


async def test_a_redrive_of_an_older_process_is_refused_by_the_ledger(
    ledger: TaskLedger, plain: Connection, failed: Claim
) -> None:
    await ledger.erase([failed.task_id], tenant=None)
    for change in ("state = 'SCHEDULED', finished_at = null", "payload = '{}'", "error = '{}'"):
        with pytest.raises(psycopg.errors.CheckViolation):
            await plain.execute(f"update leaseq.tasks set {change}".encode())
    with pytest.raises(psycopg.errors.CheckViolation):
        await plain.execute("update leaseq.tasks set erased_at = null")


async def test_erase_before_redrive(
    pool: Pool, plain: Connection, ledger: TaskLedger, failed: Claim
) -> None:
    async with holding(pool) as held:
        assert await _erase(failed.task_id)(held) == [failed.task_id]
        waiting = asyncio.ensure_future(
            _redrive(failed.task_id)(Session(pool, deadline_seconds=10))
        )
        await until_blocked(plain, waiting)
    assert await waiting == []
    assert (await find(ledger, failed.task_id)).state is State.FAILED


async def test_redrive_before_erase(
    pool: Pool, plain: Connection, ledger: TaskLedger, failed: Claim
) -> None:
    async with holding(pool) as held:
        assert await _redrive(failed.task_id)(held)
        waiting = asyncio.ensure_future(_erase(failed.task_id)(Session(pool, deadline_seconds=10)))
        await until_blocked(plain, waiting)
    assert await waiting == []
    task = await find(ledger, failed.task_id)
    assert (task.state, task.payload, task.erased_at) == (State.SCHEDULED, PAYLOAD, None)


async def test_erase_that_waits_while_the_task_runs_and_fails_again_leaves_no_attempt_behind(
    pool: Pool, plain: Connection, ledger: TaskLedger, failed: Claim
) -> None:
    """It does not see the attempt that was recorded since its snapshot."""
    async with holding(pool) as held:
        again = TaskLedger(held)
        assert await again.redrive([failed.task_id], tenant="default")
        waiting = asyncio.ensure_future(_erase(failed.task_id)(Session(pool, deadline_seconds=10)))
        await until_blocked(plain, waiting)
        await promote_due(again, limit=10)
        claim = await claim_task(again, failed.task_id, failed.worker_id)
        await again.settle([errored(claim, then=State.FAILED)])
    assert await waiting == []
    assert len(await list_attempts(ledger, failed.task_id)) == 3
    assert await ledger.erase([failed.task_id], tenant=None) == [failed.task_id]
    assert await list_attempts(ledger, failed.task_id) == []


async def test_a_stale_worker_puts_nothing_back(
    pool: Pool, plain: Connection, ledger: TaskLedger, worker: str
) -> None:
    """Its settle waits for the row, which is settled by its successor and erased meanwhile."""
    claim = await claim_task(ledger, await submit(ledger, payload=PAYLOAD), worker)
    async with holding(pool) as held:
        await TaskLedger(held).settle([errored(claim, then=State.FAILED)])
        stale = TaskLedger(Session(pool, deadline_seconds=10))
        settle = asyncio.ensure_future(stale.settle([succeeded(claim, PAYLOAD)]))
        progress = asyncio.ensure_future(stale.set_progress(claim, PAYLOAD))
        await until_blocked(plain, settle)
        assert await TaskLedger(held).erase([claim.task_id], tenant=None) == [claim.task_id]
    assert await settle == {}
    # It waits for a quarter of a second at most.
    assert type((await asyncio.gather(progress, return_exceptions=True))[0]) in (bool, Locked)
    assert MARKER not in await content(plain)


async def test_prune_leaves_a_task_that_is_being_erased(
    pool: Pool, ledger: TaskLedger, failed: Claim
) -> None:
    async with holding(pool) as held:
        await _erase(failed.task_id)(held)
        passed = await _prune()(Session(pool, deadline_seconds=10))
        assert passed.count == 0
    assert (await _prune()(ledger.session)).count == 1
    # The key remembers the end, still without a fingerprint.
    (found,) = (await ledger.find_keys([("default", "order-1")])).values()
    assert (found.submitted.state, found.fingerprint) == (State.FAILED, b"")


async def test_erase_behind_prune_finds_nothing(
    pool: Pool, plain: Connection, ledger: TaskLedger, failed: Claim
) -> None:
    async with holding(pool) as held:
        assert (await _prune()(held)).count == 1
        waiting = asyncio.ensure_future(_erase(failed.task_id)(Session(pool, deadline_seconds=10)))
        await until_blocked(plain, waiting)
    assert await waiting == []


async def test_erase_waits_for_a_submission_of_the_key_in_no_case(
    pool: Pool, ledger: TaskLedger, failed: Claim
) -> None:
    """A repeated submission reads the key, and locks nothing that an erasure needs."""
    async with holding(pool) as held:
        again = submission(idempotency_key="order-1", payload=PAYLOAD)
        assert await TaskLedger(held).submit([again], retention_seconds=RETENTION, conn=held.conn)
        assert await ledger.erase([failed.task_id], tenant=None) == [failed.task_id]
