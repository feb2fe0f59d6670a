"""Batches over the same rows wait for each other without deadlocks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sized
from typing import Any

import pytest

from leaseq.config import Config
from leaseq.connections.postgres_connection import Connection, FastCancelConnection
from leaseq.connections.postgres_pool import Pool
from leaseq.ledger.arrays import words
from leaseq.ledger.session import Locked, Rows, Session
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.model import Claim, State
from support.ledger import (
    RETENTION,
    claim_task,
    errored,
    holding,
    lost,
    open_worker,
    promote_due,
    submission,
    submit,
    until_blocked,
)

ROUNDS = 50
BATCH = 20


@pytest.fixture
def no_second_try(monkeypatch: pytest.MonkeyPatch) -> None:
    """The victim of a deadlock would retry unnoticed: here it is an error."""
    monkeypatch.setattr("leaseq.ledger.session.TRIES", 1)


@pytest.fixture
async def tasks(ledger: TaskLedger) -> list[str]:
    batch = [submission() for _ in range(BATCH)]
    await ledger.submit(batch, retention_seconds=RETENTION)
    return [wanted.task_id for wanted in batch]


@pytest.mark.usefixtures("no_second_try")
async def test_overlapping_claims_and_settles(
    ledger: TaskLedger, worker_ledger: WorkerLedger, tasks: list[str]
) -> None:
    one, two = await open_worker(worker_ledger), await open_worker(worker_ledger)
    for _ in range(ROUNDS):
        both = await asyncio.gather(
            ledger.claim(tasks, worker_id=one), ledger.claim(tasks[::-1], worker_id=two)
        )
        claims = [claimed.claim for won in both for claimed in won]
        assert sorted(claim.task_id for claim in claims) == sorted(tasks)
        settled = await asyncio.gather(
            ledger.settle([lost(claim) for claim in claims]),
            ledger.settle([lost(claim) for claim in claims[::-1]]),
        )
        assert sum(map(len, settled)) == BATCH


@pytest.mark.usefixtures("no_second_try")
async def test_promote_against_cancel_and_redrive(ledger: TaskLedger, plain: Connection) -> None:
    batch = [submission(delay_seconds=60.0) for _ in range(BATCH)]
    ids = [wanted.task_id for wanted in batch]
    await ledger.submit(batch, retention_seconds=RETENTION)
    for _ in range(ROUNDS):
        await plain.execute("update leaseq.scheduled set run_at = now()")
        await asyncio.gather(
            promote_due(ledger, limit=BATCH),
            ledger.cancel(ids[::-1], tenant="default"),
            promote_due(ledger, limit=BATCH),
        )
        assert set((await ledger.find_states(ids)).values()) == {State.CANCELLED}
        await asyncio.gather(
            ledger.redrive(ids, tenant="default"), ledger.redrive(ids[::-1], tenant="default")
        )
        await ledger.cancel(ids, tenant="default")
        await asyncio.gather(
            ledger.redrive(ids, tenant="default"),
            promote_due(ledger, limit=BATCH),
            ledger.cancel(ids[::-1], tenant="default"),
            ledger.redrive(ids[::-1], tenant="default"),
            promote_due(ledger, limit=BATCH),
        )
        await ledger.redrive(ids, tenant="default")
        await plain.execute("truncate leaseq.scheduled")
        await plain.execute("update leaseq.tasks set state = 'SCHEDULED'")
        await plain.execute("insert into leaseq.scheduled select id, now() from leaseq.tasks")


@pytest.mark.usefixtures("no_second_try")
async def test_submissions_that_share_new_keys_and_new_queues(ledger: TaskLedger) -> None:
    for number in range(ROUNDS):
        batches = [
            [submission(idempotency_key=f"{number}-{n}", queue=f"q{number}-{n}") for n in order]
            for order in (range(BATCH), reversed(range(BATCH)))
        ]
        created = await asyncio.gather(
            *(ledger.submit(batch, retention_seconds=RETENTION) for batch in batches)
        )
        assert (
            sum(answer is not None for answers in created for answer in answers.values()) == BATCH
        )


@pytest.mark.parametrize("verb", ["cancel", "redrive"])
async def test_rows_are_locked_in_order_of_id(
    pool: Pool, ledger: TaskLedger, plain: Connection, verb: str
) -> None:
    """However they were sent and lie in the table: with one in the middle locked, those before it
    are taken.

    For claim and settle it is the plan that says so (test_plans.py): a lock of its own for each row
    would cost too much there.
    """
    batch = sorted(
        (submission() for _ in range(BATCH)), key=lambda wanted: wanted.task_id, reverse=True
    )
    ids = [wanted.task_id for wanted in batch]
    await ledger.submit(batch, retention_seconds=RETENTION)
    if verb == "redrive":
        await ledger.cancel(ids, tenant="default")

    async def run() -> int:
        verbs: dict[str, Callable[..., Awaitable[Sized]]] = {
            "cancel": ledger.cancel,
            "redrive": ledger.redrive,
        }
        return len(await verbs[verb](ids, tenant="default"))

    middle = sorted(ids)[BATCH // 2]
    async with pool.connection() as conn, conn.transaction():
        await conn.execute("select 1 from leaseq.tasks where id = %s for update", [middle])
        running = asyncio.create_task(run())
        await until_blocked(plain, running)
        cursor = await plain.execute("select id::text from leaseq.tasks for update skip locked")
        free = {row[0] for row in await cursor.fetchall()}

    assert await running == BATCH
    assert free == {task_id for task_id in ids if task_id > middle}


async def test_batches_are_sent_in_order_of_id(pool: Pool) -> None:
    sent: list[str] = []

    class Noting(Session):
        async def fetch(
            self, name: str, params: Mapping[str, Any] | None = None, **rest: Any
        ) -> Rows:
            sent.append((params or {})["ids"])
            return []

    ledger = TaskLedger(Noting(pool, deadline_seconds=5))
    ids = [wanted.task_id for wanted in (submission() for _ in range(BATCH))][::-1]
    await ledger.claim(ids, worker_id="w")
    await ledger.settle([lost(Claim(task_id, 1, "w")) for task_id in ids])
    await ledger.cancel(ids, tenant="default")
    await ledger.redrive(ids, tenant="default")

    assert sent == [words(sorted(ids))] * 4


async def test_the_victim_of_a_deadlock_tries_again(
    pool: Pool, ledger: TaskLedger, worker_ledger: WorkerLedger, plain: Connection
) -> None:
    """Claim is not safe to repeat in general; a victim has done nothing, so here it is."""
    worker = await open_worker(worker_ledger)
    first, second = await submit(ledger), await submit(ledger)
    async with pool.connection() as conn, conn.transaction():
        # so that the claim is the one who notices
        await conn.execute("set local deadlock_timeout = '10s'")
        await conn.execute("select 1 from leaseq.tasks where id = %s for update", [second])
        claiming = asyncio.create_task(ledger.claim([first, second], worker_id=worker))
        await until_blocked(plain, claiming)
        await conn.execute("select 1 from leaseq.tasks where id = %s for update", [first])

    assert len(await claiming) == 2


async def test_a_row_that_stays_locked_is_not_waited_for_for_ever(
    pool: Pool, ledger: TaskLedger, worker_ledger: WorkerLedger, config: Config
) -> None:
    claim = await claim_task(ledger, await submit(ledger), await open_worker(worker_ledger))
    assert config.postgres_url is not None
    hasty = Pool(
        config.postgres_url,
        connection_class=FastCancelConnection,
        kwargs={"autocommit": True, "options": "-c lock_timeout=50"},
        open=False,
    )
    async with hasty, holding(pool) as held:
        assert await TaskLedger(held).settle([errored(claim)])
        with pytest.raises(Locked, match="locked"):
            await TaskLedger(Session(hasty, deadline_seconds=5)).settle([lost(claim)])
