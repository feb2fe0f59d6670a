"""A promotion changes no row that has changed since its snapshot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from leaseq.connections.postgres_pool import Pool
from leaseq.ledger.session import Connection
from leaseq.ledger.statements import STATEMENTS
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.model import State
from support.ledger import (
    claim_task,
    errored,
    find,
    holding,
    open_worker,
    promote_due,
    scheduled,
    submit,
    until_blocked,
)


@asynccontextmanager
async def holding_promotion(
    ledger: TaskLedger, plain: Connection, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[[], Awaitable[asyncio.Task[list[str]]]]]:
    """A promotion that has its snapshot waits until the end, before it locks any row."""
    gate = "run_at <= now() and (select pg_advisory_xact_lock(77) is not null)"
    await plain.execute("select pg_advisory_lock(77)")

    async def begin() -> asyncio.Task[list[str]]:
        promoting = asyncio.create_task(promote_due(ledger, limit=10))
        await until_blocked(plain, promoting)
        return promoting

    with monkeypatch.context() as patch:
        patch.setitem(
            STATEMENTS,
            "promote_tasks",
            STATEMENTS["promote_tasks"].replace("run_at <= now()", gate, 1),
        )
        yield begin
    await plain.execute("select pg_advisory_unlock(77)")


async def test_promote_leaves_a_row_that_a_settle_has_rewritten_since_its_snapshot(
    pool: Pool,
    plain: Connection,
    ledger: TaskLedger,
    worker_ledger: WorkerLedger,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Such a row was left by a cancel; the task was redriven and claimed, and is to wait again.
    Found by a model checker."""
    task_id = await submit(ledger)
    await plain.execute(
        "insert into leaseq.scheduled (task_id, run_at, queue) values (%s, now(), 'default')",
        [task_id],
    )
    claim = await claim_task(ledger, task_id, await open_worker(worker_ledger))
    async with holding_promotion(ledger, plain, monkeypatch) as begin, holding(pool) as held:
        await TaskLedger(held).settle([errored(claim, delay=0.0)])
        promoting = await begin()
    assert await promoting == []

    assert (await find(ledger, task_id)).state is State.SCHEDULED
    assert await scheduled(plain) == {task_id}
    assert await promote_due(ledger, limit=10) == [task_id]


async def test_promote_leaves_a_task_that_has_changed_since_its_snapshot(
    plain: Connection, ledger: TaskLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an operator changes it. Its row is not deleted either."""
    task_id = await submit(ledger, delay_seconds=60.0)
    await plain.execute("update leaseq.scheduled set run_at = now()")
    async with holding_promotion(ledger, plain, monkeypatch) as begin:
        promoting = await begin()
        await plain.execute(
            "update leaseq.tasks set max_attempts = max_attempts + 1 where id = %s", [task_id]
        )
    assert await promoting == []

    assert await scheduled(plain) == {task_id}
    assert await promote_due(ledger, limit=10) == [task_id]
    assert await scheduled(plain) == set()
