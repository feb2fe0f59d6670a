"""Looks at many tasks return those that were written since, and miss none."""

from __future__ import annotations

import asyncio

import pytest

from leaseq.connections.postgres_pool import Pool
from leaseq.ledger.arrays import words
from leaseq.ledger.followed import FollowedTasks
from leaseq.ledger.session import Session
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from support.ledger import claim_task, errored, holding, open_worker, released, submit


@pytest.fixture
def followed(session: Session) -> FollowedTasks:
    return FollowedTasks(session)


async def written(followed: FollowedTasks, task_id: str, since: str | None) -> tuple[str, bool]:
    """The horizon of both kinds of look, and whether both have found the task."""
    changes = await followed.find_changed(words([task_id]), since=since)
    listed = await followed.list_written((), rows=10, since=since)
    found = task_id in {change.task_id for change in changes.found}
    assert found == (task_id in {task.task_id for task in listed.tasks})
    return changes.horizon, found


async def test_a_task_that_was_not_written_does_not_come_back(
    followed: FollowedTasks, ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    task_id = await submit(ledger)
    since, found = await written(followed, task_id, None)
    assert found
    async with asyncio.timeout(60):
        while found:  # a transaction of the server itself may have been open
            since, found = await written(followed, task_id, since)
    await claim_task(ledger, task_id, await open_worker(worker_ledger))
    assert (await written(followed, task_id, since))[1]


async def test_a_transaction_that_was_open_at_the_look_is_found_later(
    followed: FollowedTasks, ledger: TaskLedger, worker_ledger: WorkerLedger, pool: Pool
) -> None:
    """Its number is the horizon itself, or above it."""
    task_id = await submit(ledger)
    worker_id = await open_worker(worker_ledger)
    since, found = await written(followed, task_id, None)
    async with holding(pool) as held:
        await claim_task(TaskLedger(held), task_id, worker_id)
        # Later transactions end before it.
        await submit(ledger)
        async with asyncio.timeout(60):
            while found:
                since, found = await written(followed, task_id, since)
    assert (await written(followed, task_id, since))[1]


async def test_ends_of_attempts_come_once(
    followed: FollowedTasks, ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    ids = [await submit(ledger) for _ in range(2)]
    worker_id = await open_worker(worker_ledger)
    for task_id in ids:
        await ledger.settle([released(await claim_task(ledger, task_id, worker_id))])
        await ledger.settle([errored(await claim_task(ledger, task_id, worker_id))])
    first, second = ids
    ends = await followed.list_ends({first: 0, second: 1})
    assert [end.attempt for end in ends[first]] == [1, 2]
    assert [end.attempt for end in ends[second]] == [2]
    assert await followed.list_ends({first: 2}) == {first: []}
