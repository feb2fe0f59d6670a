"""Hand-backs share a row, and a worker that knows their type expedites them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from leaseq.connections.postgres_connection import Connection
from leaseq.connections.postgres_pool import Pool
from leaseq.ledger.task_lists import TaskLists
from leaseq.ledger.task_types import TypeLedger
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.model import Claim, Disposition, Ending, Outcome, Settlement, State, TaskError
from support.ledger import (
    claim_task,
    errored,
    find,
    holding,
    open_worker,
    promote_due,
    released,
    submit,
)


def handed_back(
    claim: Claim, count: int, *, code: str = "unknown_type", delay: float = 600.0
) -> Settlement:
    error = TaskError(code, f"hand-back {count}")
    then = Disposition(State.SCHEDULED, delay=delay, hand_backs=count, error=error)
    return Settlement(claim, Ending(Outcome.RELEASED, error=error, self_caused=True), then)


async def again(ledger: TaskLedger, plain: Connection, task_id: str, worker: str) -> Claim:
    """The next attempt of a task that waits."""
    await plain.execute(
        "update leaseq.tasks set state = 'PENDING' where id = %s and state = 'SCHEDULED'",
        (task_id,),
    )
    return await claim_task(ledger, task_id, worker)


async def test_hand_backs_in_a_row_share_one_row(
    ledger: TaskLedger, worker_ledger: WorkerLedger, plain: Connection
) -> None:
    worker = await open_worker(worker_ledger)
    task_id = await submit(ledger)
    for count in range(1, 6):
        (settled,) = (
            await ledger.settle([handed_back(await again(ledger, plain, task_id, worker), count)])
        ).values()
        assert (settled.attempt, settled.state) == (count, State.SCHEDULED)
    (row,) = await TaskLists(ledger.session).list_attempts(task_id, tenant="default")
    assert (row.attempt, row.hand_backs, row.last, row.outcome) == (1, 5, 5, Outcome.RELEASED)
    assert row.error is not None
    assert b"hand-back 5" in row.error
    assert row.started_at < row.finished_at
    task = await find(ledger, task_id)
    assert task.hand_back_count == 5
    assert task.error is not None
    assert b"hand-back 5" in task.error


async def test_another_ending_in_between_begins_another_row(
    ledger: TaskLedger, worker_ledger: WorkerLedger, plain: Connection
) -> None:
    worker = await open_worker(worker_ledger)
    task_id = await submit(ledger)
    endings: list[Callable[[Claim], Settlement]] = [
        lambda claim: handed_back(claim, 1),
        lambda claim: handed_back(claim, 2),
        released,
        lambda claim: handed_back(claim, 3),
        lambda claim: handed_back(claim, 4, code="connection_lost"),
        errored,
        lambda claim: handed_back(claim, 1),
        lambda claim: handed_back(claim, 2),
    ]
    for ending in endings:
        await ledger.settle([ending(await again(ledger, plain, task_id, worker))])
    rows = await TaskLists(ledger.session).list_attempts(task_id, tenant="default")
    assert [(row.attempt, row.hand_backs) for row in rows] == [
        (1, 2),
        (3, None),
        (4, 1),
        (5, 1),
        (6, None),
        (7, 2),
    ]
    assert [n for row in rows for n in range(row.attempt, row.last + 1)] == list(range(1, 9)), (
        "each attempt once"
    )


async def test_workers_without_the_type_and_without_its_version_share_one_row(
    ledger: TaskLedger, worker_ledger: WorkerLedger, plain: Connection
) -> None:
    worker = await open_worker(worker_ledger)
    task_id = await submit(ledger)
    for count, code in enumerate(
        ("unknown_type", "other_version", "unknown_type", "other_version"), start=1
    ):
        await ledger.settle(
            [handed_back(await again(ledger, plain, task_id, worker), count, code=code)]
        )
    (row,) = await TaskLists(ledger.session).list_attempts(task_id, tenant="default")
    assert (row.attempt, row.hand_backs) == (1, 4)
    assert row.error is not None
    assert b"other_version" in row.error
    cursor = await plain.execute(
        "select awaited_type from leaseq.scheduled where task_id = %s", (task_id,)
    )
    assert await cursor.fetchall() == [("add#",)]


async def test_an_ending_that_says_nothing_of_the_count_leaves_it(
    ledger: TaskLedger, worker_ledger: WorkerLedger, plain: Connection
) -> None:
    worker = await open_worker(worker_ledger)
    task_id = await submit(ledger)
    await ledger.settle([handed_back(await again(ledger, plain, task_id, worker), 1)])
    await ledger.settle([released(await again(ledger, plain, task_id, worker))])
    (claimed,) = await ledger.claim([task_id], worker_id=worker)
    assert claimed.counts.hand_back_count == 1
    (found,) = await ledger.find_claimed([task_id], worker_id=worker)
    assert found.counts.hand_back_count == 1


async def test_redrive_starts_from_the_first_attempt(
    ledger: TaskLedger, worker_ledger: WorkerLedger, plain: Connection
) -> None:
    worker = await open_worker(worker_ledger)
    task_id = await submit(ledger)
    await ledger.settle([handed_back(await again(ledger, plain, task_id, worker), 1)])
    await ledger.cancel([task_id], tenant="default")
    await ledger.redrive([task_id], tenant="default")
    assert (await find(ledger, task_id)).hand_back_count == 0


async def waiting(
    ledger: TaskLedger, worker_ledger: WorkerLedger, plain: Connection, **said: str
) -> str:
    """A task that was handed back for its type, and waits for ten minutes."""
    task_id = await submit(ledger, **said)
    worker = await open_worker(worker_ledger, said.get("queue", "default"))
    await ledger.settle([handed_back(await again(ledger, plain, task_id, worker), 3)])
    return task_id


async def test_expedite_makes_due_what_waits_for_these_types_in_these_queues(
    ledger: TaskLedger, worker_ledger: WorkerLedger, type_ledger: TypeLedger, plain: Connection
) -> None:
    wanted = [await waiting(ledger, worker_ledger, plain) for _ in range(5)]
    others = [
        await waiting(ledger, worker_ledger, plain, type="unheard"),
        await waiting(ledger, worker_ledger, plain, queue="elsewhere"),
        await submit(ledger, delay_seconds=600.0),
    ]
    assert [
        await type_ledger.expedite(["add", "more"], ["default"], limit=3) for _ in range(3)
    ] == [
        3,
        2,
        0,
    ]
    assert set(await promote_due(ledger, limit=10)) == set(wanted)
    assert {(await find(ledger, task_id)).hand_back_count for task_id in wanted} == {0}
    assert {(await find(ledger, task_id)).state for task_id in others} == {State.SCHEDULED}


async def test_expedite_leaves_a_cancelled_task_alone(
    pool: Pool,
    ledger: TaskLedger,
    worker_ledger: WorkerLedger,
    type_ledger: TypeLedger,
    plain: Connection,
) -> None:
    """Its row in `scheduled` may stay behind, if another transaction has it locked."""
    task_id = await waiting(ledger, worker_ledger, plain)
    async with holding(pool) as held:
        await held.conn.execute(
            "select from leaseq.scheduled where task_id = %s for update", (task_id,)
        )
        await ledger.cancel([task_id], tenant="default")
    await type_ledger.expedite(["add"], ["default"], limit=10)
    assert (await find(ledger, task_id)).state is State.CANCELLED
    assert await promote_due(ledger, limit=10) == []


@pytest.mark.parametrize("table", ["scheduled where task_id", "tasks where id"])
async def test_expedite_passes_over_what_another_has_locked(
    pool: Pool,
    ledger: TaskLedger,
    worker_ledger: WorkerLedger,
    type_ledger: TypeLedger,
    plain: Connection,
    table: str,
) -> None:
    first, second = [await waiting(ledger, worker_ledger, plain) for _ in range(2)]
    async with holding(pool) as held:
        await held.conn.execute(f"select from leaseq.{table} = %s for update".encode(), (first,))
        assert await type_ledger.expedite(["add"], ["default"], limit=10) == 1
    assert (await find(ledger, second)).hand_back_count == 0
    assert await type_ledger.expedite(["add"], ["default"], limit=10) == 1


@pytest.mark.parametrize("ending", [errored, released])
async def test_another_ending_waits_for_no_type(
    ledger: TaskLedger,
    worker_ledger: WorkerLedger,
    type_ledger: TypeLedger,
    plain: Connection,
    ending: object,
) -> None:
    worker = await open_worker(worker_ledger)
    task_id = await submit(ledger)
    claim = await again(ledger, plain, task_id, worker)
    await ledger.settle(
        [errored(claim) if ending is errored else handed_back(claim, 1, code="connection_lost")]
    )
    assert await type_ledger.expedite(["add"], ["default"], limit=10) == 0
