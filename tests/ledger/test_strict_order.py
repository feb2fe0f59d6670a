"""Tasks of a limit with strict order: one of a key at a time, through retries."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from leaseq.codec import new_task_id
from leaseq.connections.postgres_connection import Connection
from leaseq.connections.postgres_pool import Pool
from leaseq.ledger.limits import BEGINNING, LimitLedger
from leaseq.ledger.prepared import PREPARED
from leaseq.ledger.session import Session
from leaseq.ledger.statements import STATEMENTS
from leaseq.ledger.tasks import TaskLedger
from leaseq.limits import LimitBounds
from leaseq.model import Claim, State
from support.ledger import (
    RETENTION,
    errored,
    find,
    holding,
    lost,
    open_worker,
    promote_due,
    released,
    submission,
    succeeded,
    until_blocked,
)

NAME = "accounts"


class OneKey:
    """The line of one key, and a worker that runs its tasks."""

    def __init__(self, ledger: TaskLedger, limits: LimitLedger, plain: Connection) -> None:
        self.ledger = ledger
        self.limits = limits
        self.plain = plain
        self.worker = ""

    async def submit(self, count: int) -> list[str]:
        ids = sorted(new_task_id() for _ in range(count))
        batch = [submission(task_id=id_, limit=NAME, concurrency_key="a") for id_ in ids]
        await self.ledger.submit(batch, retention_seconds=RETENTION)
        return ids

    async def admit(self) -> list[str]:
        admission = await self.limits.admit(NAME)
        return [task_id for one in admission.lanes for task_id in one.task_ids]

    async def claim(self, task_id: str) -> Claim:
        (claimed,) = await self.ledger.claim([task_id], worker_id=self.worker)
        return claimed.claim

    async def is_over(self) -> None:
        """The time of every retry has come."""
        await self.plain.execute(
            "update leaseq.scheduled set run_at = clock_timestamp() - interval '1 second'"
        )
        await promote_due(self.ledger, limit=10)


@pytest.fixture
async def line(
    ledger: TaskLedger, session: Session, worker_ledger: Any, plain: Connection
) -> OneKey:
    made = OneKey(ledger, LimitLedger(session), plain)
    await made.limits.put(LimitBounds(name=NAME, key_concurrency=1, strict=True))
    made.worker = await open_worker(worker_ledger)
    return made


async def order_with_a_retry(line: OneKey) -> list[str]:
    """The order in which two tasks end, the first of which fails once."""
    first, _ = await line.submit(2)
    ended: list[str] = []
    assert await line.admit() == [first]
    await line.ledger.settle([errored(await line.claim(first))])
    for _ in range(3):
        for task_id in await line.admit():
            await line.ledger.settle([succeeded(await line.claim(task_id))])
            ended.append(task_id)
        await line.is_over()
        if (await find(line.ledger, first)).state is State.PENDING:
            await line.ledger.settle([succeeded(await line.claim(first))])
            ended.append(first)
    return ["first" if task_id == first else "second" for task_id in ended]


async def test_a_retry_stays_before_the_later_tasks_of_its_key(line: OneKey) -> None:
    assert await order_with_a_retry(line) == ["first", "second"]


async def test_a_settle_that_takes_the_permit_breaks_the_order(
    line: OneKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seeded bug, which the test before catches."""
    broken = STATEMENTS["settle_bound"].replace("or x.strict then", "then", 1)
    assert broken != STATEMENTS["settle_bound"]
    monkeypatch.setitem(STATEMENTS, "settle_bound", broken)
    monkeypatch.delitem(PREPARED, "settle_bound", raising=False)
    assert await order_with_a_retry(line) == ["second", "first"]


async def test_a_retry_that_waits_keeps_its_permit_and_says_that_it_waits_for_a_time(
    line: OneKey,
) -> None:
    first, _ = await line.submit(2)
    await line.admit()
    await line.ledger.settle([errored(await line.claim(first))])
    assert not (await find(line.ledger, first)).in_line
    repaired, _ = await line.limits.audit(BEGINNING, limit=100)
    assert repaired == []
    assert await line.admit() == []
    await line.is_over()
    assert (await find(line.ledger, first)).state is State.PENDING


@pytest.mark.parametrize("ending", [lost, released])
async def test_a_lost_and_a_handed_back_head_runs_again_before_the_next(
    ending: Any, line: OneKey
) -> None:
    first, second = await line.submit(2)
    await line.admit()
    await line.ledger.settle([ending(await line.claim(first))])
    assert await line.admit() == []
    await line.ledger.settle([succeeded(await line.claim(first))])
    assert await line.admit() == [second]


@pytest.mark.parametrize("end", ["cancelled", "failed", "cancelled while it waits"])
async def test_the_end_of_the_head_lets_the_next_go(end: str, line: OneKey) -> None:
    first, second = await line.submit(2)
    await line.admit()
    if end == "failed":
        await line.ledger.settle([errored(await line.claim(first), then=State.FAILED)])
    else:
        if end == "cancelled while it waits":
            await line.ledger.settle([errored(await line.claim(first))])
        await line.ledger.cancel([first], tenant=None)
    assert await line.admit() == [second]


async def test_a_head_that_is_cancelled_while_a_settle_retries_it_lets_the_next_go(
    line: OneKey, pool: Pool
) -> None:
    first, second = await line.submit(2)
    await line.admit()
    claim = await line.claim(first)
    async with holding(pool) as held:
        await TaskLedger(held).settle([errored(claim)])
        cancelling = asyncio.create_task(line.ledger.cancel([first], tenant=None))
        await until_blocked(line.plain, cancelling)
    assert await cancelling == {first: State.CANCELLED}
    assert await line.admit() == [second]


async def test_a_settle_that_waits_for_the_cancel_of_the_head_ends_it(
    line: OneKey, pool: Pool
) -> None:
    first, second = await line.submit(2)
    await line.admit()
    claim = await line.claim(first)
    async with holding(pool) as held:
        await TaskLedger(held).cancel([first], tenant=None)
        settling = asyncio.create_task(line.ledger.settle([errored(claim)]))
        await until_blocked(line.plain, settling)
    assert (await settling)[first].state is State.CANCELLED
    assert await line.admit() == [second]


async def test_a_redriven_task_is_the_first_of_those_that_wait(line: OneKey) -> None:
    first, second, third = await line.submit(3)
    await line.admit()
    await line.ledger.settle([errored(await line.claim(first), then=State.FAILED)])
    assert await line.admit() == [second]
    await line.ledger.redrive([first], tenant=None)
    await line.is_over()
    assert await line.admit() == []
    await line.ledger.settle([succeeded(await line.claim(second))])
    assert await line.admit() == [first]
    await line.ledger.cancel([first], tenant=None)
    assert await line.admit() == [third]


async def test_an_order_that_is_strict_no_more_lets_go_of_the_permits_of_retries(
    line: OneKey,
) -> None:
    first, second = await line.submit(2)
    await line.admit()
    await line.ledger.settle([errored(await line.claim(first))])
    await line.limits.put(LimitBounds(name=NAME, key_concurrency=1))
    repaired, _ = await line.limits.audit(BEGINNING, limit=100)
    assert [each.task_id for each in repaired] == [first]
    assert await line.admit() == [second]
