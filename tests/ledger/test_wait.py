"""Every waiter is woken when its task has ended, and not before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import monotonic

import pytest

from leaseq.errors import ServerUnreachable
from leaseq.ledger.followed import Changes, FollowedTasks
from leaseq.ledger.session import Session
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.operations.wait import BURST, POLLS_PER_SECOND, SLOWEST_POLL_SECONDS, Waiter
from support.ledger import claim_task, open_worker, submit, succeeded


class Counting(FollowedTasks):
    """Counts the tasks that are asked about, and can be away."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.asked: list[int] = []
        self.returned = 0
        self.away = 0
        self.answered = asyncio.Event()

    async def find_changed(self, ids: str, *, since: str | None) -> Changes:
        self.asked.append(ids.count(",") + 1)
        if self.away:
            self.away -= 1
            raise ServerUnreachable
        found = await super().find_changed(ids, since=since)
        self.returned += len(found.found)
        self.answered.set()
        return found


@pytest.fixture
async def counting(session: Session) -> Counting:
    return Counting(session)


@pytest.fixture
async def waiter(counting: Counting) -> AsyncIterator[Waiter]:
    waiter = Waiter(counting)
    yield waiter
    await waiter.aclose()


async def test_a_waiter_is_woken_by_the_end_and_not_before(
    waiter: Waiter, counting: Counting, ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    claim = await claim_task(ledger, await submit(ledger), await open_worker(worker_ledger))
    waiting = asyncio.create_task(waiter.wait(claim.task_id, timeout=30))
    await counting.answered.wait()
    assert not waiting.done()

    await ledger.settle([succeeded(claim)])

    assert await waiting


async def test_a_wait_ends_with_its_time(waiter: Waiter, ledger: TaskLedger) -> None:
    task_id = await submit(ledger)
    assert not await waiter.wait(task_id, timeout=0.05)
    await ledger.cancel([task_id], tenant="default")
    assert await waiter.wait(task_id, timeout=30)


async def test_a_task_that_is_gone_has_ended(waiter: Waiter) -> None:
    assert await waiter.wait("01900000-0000-7000-8000-000000000001", timeout=30)


async def test_a_thousand_waiters_ask_one_question(
    waiter: Waiter, counting: Counting, ledger: TaskLedger
) -> None:
    ids = [await submit(ledger) for _ in range(10)]
    waiting = [asyncio.create_task(waiter.wait(task_id, timeout=30)) for task_id in ids * 100]
    await counting.answered.wait()

    await ledger.cancel(ids, tenant="default")

    assert all(await asyncio.gather(*waiting))
    assert max(counting.asked) == 10
    assert len(counting.asked) < 20


async def test_newcomers_are_looked_at_soon_and_the_others_no_more_often(
    waiter: Waiter, counting: Counting, ledger: TaskLedger
) -> None:
    """Each newcomer used to set the pace of all: a thousand waiters were asked about 68 times a
    second."""
    old = [await submit(ledger) for _ in range(50)]
    waiting = [asyncio.create_task(waiter.wait(task_id, timeout=60)) for task_id in old]
    while len(counting.asked) < 14:  # they have settled into their slow pace  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    counting.asked.clear()
    began = monotonic()
    for _ in range(40):
        task_id = await submit(ledger)
        newcomer = asyncio.create_task(waiter.wait(task_id, timeout=60))
        await asyncio.sleep(0.02)
        await ledger.cancel([task_id], tenant="default")
        assert await newcomer
    seconds = monotonic() - began
    assert len(counting.asked) <= BURST + POLLS_PER_SECOND * seconds + 1
    # The old ones were asked about four times a second, in whichever poll.
    assert sum(count - 1 for count in counting.asked) <= len(old) * (
        seconds / SLOWEST_POLL_SECONDS + 2
    )
    await ledger.cancel(old, tenant="default")
    assert all(await asyncio.gather(*waiting))


async def test_an_outage_is_waited_out(
    waiter: Waiter, counting: Counting, ledger: TaskLedger
) -> None:
    task_id = await submit(ledger)
    await ledger.cancel([task_id], tenant="default")
    counting.away = 3

    assert await waiter.wait(task_id, timeout=30)


async def test_abandoned_wait_leaves_nothing_behind(
    waiter: Waiter, counting: Counting, ledger: TaskLedger
) -> None:
    task_id = await submit(ledger)
    waiting = asyncio.create_task(waiter.wait(task_id, timeout=30))
    await counting.answered.wait()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    assert not waiter._watched
    assert not waiter._quick
