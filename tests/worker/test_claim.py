"""Claims of one worker go one at a time, and those that wait go together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from leaseq.connections.postgres_connection import Connection
from leaseq.connections.postgres_pool import Pool
from leaseq.errors import ServerUnreachable
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.model import ClaimedTask
from leaseq.worker.intake.claimer import Claimer
from support.ledger import holding, open_worker, submit, until_blocked


async def multixacts(plain: Connection) -> int:
    """How many multixacts this server has used."""
    cursor = await plain.execute("select mxid_age('1'::xid)")
    return int((await cursor.fetchall())[0][0])


async def test_claims_at_the_same_time_leave_no_multixact_behind(
    ledger: TaskLedger, worker_ledger: WorkerLedger, pool: Pool, plain: Connection
) -> None:
    worker_id = await open_worker(worker_ledger, *(f"q{n}" for n in range(5)))
    ids = [await submit(ledger, queue=f"q{n % 5}") for n in range(40)]
    before = await multixacts(plain)
    async with holding(pool) as held:  # what two statements at the same time cost
        await TaskLedger(held).claim(ids[:1], worker_id=worker_id)
        await ledger.claim(ids[1:2], worker_id=worker_id)
    used = await multixacts(plain)
    assert used > before

    claimer = Claimer(ledger, worker_ledger, worker_id=worker_id)
    answers = await asyncio.gather(*(claimer.claim([task_id]) for task_id in ids[2:]))
    assert [task.claim.task_id for claimed in answers for task in claimed] == ids[2:]
    assert await multixacts(plain) == used


async def test_claims_that_wait_go_together_and_each_gets_its_own(
    ledger: TaskLedger,
    worker_ledger: WorkerLedger,
    pool: Pool,
    plain: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker_id, other = await open_worker(worker_ledger), await open_worker(worker_ledger)
    ids = [await submit(ledger) for _ in range(6)]
    await ledger.claim(ids[4:5], worker_id=other)
    sent: list[int] = []
    claim = ledger.claim

    async def count(task_ids: Sequence[str], *, worker_id: str) -> list[ClaimedTask]:
        sent.append(len(task_ids))
        return await claim(task_ids, worker_id=worker_id)

    monkeypatch.setattr(ledger, "claim", count)
    claimer = Claimer(ledger, worker_ledger, worker_id=worker_id)
    async with holding(pool) as held:
        await held.fetch("close_worker", {"worker_id": other, "reason": "", "stale_after": None})
        await held.fetch("touch_workers", {"worker_ids": [worker_id]})
        first = asyncio.create_task(claimer.claim(ids[:1]))
        await until_blocked(plain, first)
        rest = [asyncio.create_task(claimer.claim(some)) for some in (ids[1:3], ids[3:5], ids[5:])]
        await asyncio.sleep(0)
    answers: list[Any] = [[task.claim.task_id for task in await one] for one in (first, *rest)]
    assert answers == [ids[:1], ids[1:3], ids[3:4], ids[5:]]
    assert sent == [1, 5]


async def test_a_claim_that_is_held_up_holds_up_no_other_for_long(
    ledger: TaskLedger, worker_ledger: WorkerLedger, pool: Pool, plain: Connection
) -> None:
    worker_id = await open_worker(worker_ledger)
    locked, free = await submit(ledger), await submit(ledger)
    claimer = Claimer(ledger, worker_ledger, worker_id=worker_id)
    async with holding(pool) as held:
        await TaskLedger(held).cancel([locked], tenant="default")
        first = asyncio.create_task(claimer.claim([locked]))
        await until_blocked(plain, first)
        assert [task.claim.task_id for task in await claimer.claim([free])] == [free]
        assert not first.done()
    assert await first == []


async def test_outage_fails_every_claim_and_the_next_one_succeeds(
    ledger: TaskLedger, worker_ledger: WorkerLedger, monkeypatch: Any
) -> None:
    worker_id = await open_worker(worker_ledger)
    ids = [await submit(ledger) for _ in range(3)]
    claim = ledger.claim

    async def away(*args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0.01)
        raise ServerUnreachable("away")

    claimer = Claimer(ledger, worker_ledger, worker_id=worker_id)
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "claim", away)
        told = await asyncio.gather(
            *(claimer.claim([task_id]) for task_id in ids), return_exceptions=True
        )
    assert [type(one) for one in told] == [ServerUnreachable] * 3
    assert ledger.claim == claim
    assert len(await claimer.claim(ids)) == 3
