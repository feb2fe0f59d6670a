"""When two writers meet at one row, exactly one of them counts.

Each race is run in both orders. The winner makes its write in an open transaction and keeps the
lock; the loser is started and seen to wait by Postgres itself (or to return immediately, if it
skips locked rows); then the winner commits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from leaseq.codec import FIRST_ID
from leaseq.connections.postgres_pool import Pool
from leaseq.ledger.maintenance import Maintenance, Pruned
from leaseq.ledger.session import Connection, Session
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.model import Claim, Settlement, State
from support.ledger import (
    Held,
    cancelled,
    claim_task,
    errored,
    find,
    holding,
    list_attempts,
    lost,
    open_worker,
    promote_due,
    released,
    scheduled,
    submit,
    succeeded,
    until_blocked,
)

Verb = Callable[[Session], Awaitable[Any]]


async def race(pool: Pool, plain: Connection, *, winner: Verb, loser: Verb) -> tuple[Any, Any]:
    """Both answers: of the one who had the lock, and of the one who waited for it."""
    async with holding(pool) as held:
        first = await winner(held)
        waiting = asyncio.create_task(_call(loser, Session(pool, deadline_seconds=10)))
        await until_blocked(plain, waiting)
    return first, await waiting


async def _call(verb: Verb, session: Session) -> Any:
    return await verb(session)


def _settle(settlement: Settlement) -> Verb:
    return lambda session: TaskLedger(session).settle([settlement])


def _claim(task_id: str, worker: str) -> Verb:
    return lambda session: TaskLedger(session).claim([task_id], worker_id=worker)


def _cancel(task_id: str) -> Verb:
    return lambda session: TaskLedger(session).cancel([task_id], tenant="default")


def _redrive(task_id: str) -> Verb:
    return lambda session: TaskLedger(session).redrive([task_id], tenant="default")


def _promote() -> Verb:
    return lambda session: promote_due(TaskLedger(session), limit=10)


def _progress(claim: Claim) -> Verb:
    return lambda session: TaskLedger(session).set_progress(claim, b"50")


def _close(worker: str, *, stale_after: float | None = None) -> Verb:
    return lambda session: WorkerLedger(session).close_worker(
        worker, reason="raced", stale_after=stale_after
    )


def _touch(worker: str) -> Verb:
    return lambda session: WorkerLedger(session).touch([worker])


@pytest.fixture
async def worker(worker_ledger: WorkerLedger) -> str:
    return await open_worker(worker_ledger)


@pytest.fixture
async def claim(ledger: TaskLedger, worker: str) -> Claim:
    """A running attempt."""
    return await claim_task(ledger, await submit(ledger), worker)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (succeeded, lost),
        (lost, succeeded),
        (errored, lost),
        (lost, errored),
        (released, succeeded),
        (cancelled, lost),
    ],
)
async def test_settle_against_settle(
    pool: Pool, plain: Connection, ledger: TaskLedger, claim: Claim, first: Any, second: Any
) -> None:
    won, lost_race = await race(
        pool, plain, winner=_settle(first(claim)), loser=_settle(second(claim))
    )

    assert list(won) == [claim.task_id]
    assert lost_race == {}
    task = await find(ledger, claim.task_id)
    assert task.state is first(claim).disposition.state
    assert len(await list_attempts(ledger, claim.task_id)) == (first is not succeeded)


async def test_settle_after_the_task_was_taken_back_and_claimed_again(
    pool: Pool, plain: Connection, ledger: TaskLedger, worker_ledger: WorkerLedger, claim: Claim
) -> None:
    """The stale worker waits while the reap and the next claim happen in one breath."""
    other = await open_worker(worker_ledger)

    async def reap_and_claim(session: Session) -> Any:
        await TaskLedger(session).settle([lost(claim)])
        return await TaskLedger(session).claim([claim.task_id], worker_id=other)

    won, fenced = await race(pool, plain, winner=reap_and_claim, loser=_settle(succeeded(claim)))

    assert [claimed.claim for claimed in won] == [Claim(claim.task_id, 2, other)]
    assert fenced == {}
    task = await find(ledger, claim.task_id)
    assert (task.state, task.attempt, task.worker_id) == (State.PROCESSING, 2, other)


async def test_claim_against_claim(
    pool: Pool, plain: Connection, ledger: TaskLedger, worker_ledger: WorkerLedger, worker: str
) -> None:
    other = await open_worker(worker_ledger)
    task_id = await submit(ledger)

    won, nothing = await race(
        pool, plain, winner=_claim(task_id, worker), loser=_claim(task_id, other)
    )

    assert [claimed.claim for claimed in won] == [Claim(task_id, 1, worker)]
    assert nothing == []
    assert (await find(ledger, task_id)).worker_id == worker


async def test_close_before_claim(
    pool: Pool, plain: Connection, ledger: TaskLedger, worker: str
) -> None:
    task_id = await submit(ledger)

    closed, nothing = await race(pool, plain, winner=_close(worker), loser=_claim(task_id, worker))

    assert closed
    assert nothing == []
    assert (await find(ledger, task_id)).state is State.PENDING


async def test_close_waits_for_a_running_claim(
    pool: Pool, plain: Connection, ledger: TaskLedger, worker: str
) -> None:
    task_id = await submit(ledger)

    won, closed = await race(pool, plain, winner=_claim(task_id, worker), loser=_close(worker))

    assert len(won) == 1
    assert closed
    held = await ledger.find_held([task_id], worker_id=worker)
    assert [found for found, _ in held] == [Claim(task_id, 1, worker)]


async def test_close_of_a_stale_worker_that_was_just_seen(
    pool: Pool, plain: Connection, worker_ledger: WorkerLedger, worker: str
) -> None:
    await plain.execute("update leaseq.workers set last_seen = now() - interval '1 hour'")

    alive, closed = await race(
        pool, plain, winner=_touch(worker), loser=_close(worker, stale_after=60)
    )

    assert alive == {worker}
    assert not closed
    record = await worker_ledger.find_worker(worker)
    assert record is not None
    assert record.closed_at is None


async def test_close_of_a_stale_worker_of_an_older_version_that_was_just_seen(
    pool: Pool, plain: Connection, worker_ledger: WorkerLedger, worker: str
) -> None:
    """It writes its heartbeat into its row in `workers`."""
    await plain.execute("update leaseq.workers set last_seen = now() - interval '1 hour'")

    async def touch(held: Session) -> None:
        assert isinstance(held, Held)
        await held.conn.execute(
            "update leaseq.workers set last_seen = now() where closed_at is null"
        )

    _, closed = await race(pool, plain, winner=touch, loser=_close(worker, stale_after=60))

    assert not closed
    assert await worker_ledger.find_open([worker]) == {worker}


async def test_touch_by_a_worker_that_was_just_closed(
    pool: Pool, plain: Connection, worker: str
) -> None:
    closed, alive = await race(pool, plain, winner=_close(worker), loser=_touch(worker))

    assert closed
    assert alive == set()


async def test_close_against_close_has_one_closer(
    pool: Pool, plain: Connection, worker: str
) -> None:
    assert await race(pool, plain, winner=_close(worker), loser=_close(worker)) == (True, False)


async def test_progress_before_settle(
    pool: Pool, plain: Connection, ledger: TaskLedger, claim: Claim
) -> None:
    stored, settled = await race(
        pool, plain, winner=_progress(claim), loser=_settle(succeeded(claim))
    )

    assert stored
    assert settled[claim.task_id].state is State.SUCCESS
    assert (await find(ledger, claim.task_id)).progress == b"50"


@pytest.mark.parametrize("ending", [succeeded, lost])
async def test_settle_before_progress(
    pool: Pool, plain: Connection, ledger: TaskLedger, claim: Claim, ending: Any
) -> None:
    _, stored = await race(pool, plain, winner=_settle(ending(claim)), loser=_progress(claim))

    assert not stored
    assert (await find(ledger, claim.task_id)).progress is None


async def test_cancel_before_claim(
    pool: Pool, plain: Connection, ledger: TaskLedger, worker: str
) -> None:
    task_id = await submit(ledger)

    states, nothing = await race(
        pool, plain, winner=_cancel(task_id), loser=_claim(task_id, worker)
    )

    assert states == {task_id: State.CANCELLED}
    assert nothing == []
    task = await find(ledger, task_id)
    assert (task.state, task.attempt) == (State.CANCELLED, 0)


async def test_claim_before_cancel(
    pool: Pool, plain: Connection, ledger: TaskLedger, worker: str
) -> None:
    task_id = await submit(ledger)

    _, states = await race(pool, plain, winner=_claim(task_id, worker), loser=_cancel(task_id))

    assert states == {task_id: State.PROCESSING}
    task = await find(ledger, task_id)
    assert (task.state, task.worker_id) == (State.PROCESSING, worker)
    assert task.cancel_requested_at is not None


@pytest.mark.parametrize(
    ("ending", "then"),
    [
        (succeeded, State.SUCCESS),
        (errored, State.CANCELLED),
        (released, State.CANCELLED),
        (lost, State.CANCELLED),
    ],
)
async def test_cancel_before_settle(
    pool: Pool, plain: Connection, ledger: TaskLedger, claim: Claim, ending: Any, then: State
) -> None:
    asked, settled = await race(
        pool, plain, winner=_cancel(claim.task_id), loser=_settle(ending(claim))
    )

    assert asked == {claim.task_id: State.PROCESSING}
    assert settled[claim.task_id].state is then
    assert (await find(ledger, claim.task_id)).state is then
    assert await scheduled(plain) == set()


async def test_settle_success_before_cancel(
    pool: Pool, plain: Connection, ledger: TaskLedger, claim: Claim
) -> None:
    _, states = await race(
        pool, plain, winner=_settle(succeeded(claim)), loser=_cancel(claim.task_id)
    )

    assert states == {}
    assert (await find(ledger, claim.task_id)).cancel_requested_at is None


async def test_settle_retry_before_cancel(
    pool: Pool, plain: Connection, ledger: TaskLedger, claim: Claim
) -> None:
    _, states = await race(
        pool, plain, winner=_settle(errored(claim, delay=0.0)), loser=_cancel(claim.task_id)
    )

    assert states == {claim.task_id: State.CANCELLED}
    # The cancel could not see the new row of the table of scheduled tasks; promote takes it away
    # and nothing else.
    assert await promote_due(ledger, limit=10) == []
    assert (await find(ledger, claim.task_id)).state is State.CANCELLED
    assert await scheduled(plain) == set()


async def _due(ledger: TaskLedger, plain: Connection) -> str:
    task_id = await submit(ledger, delay_seconds=60.0)
    await plain.execute("update leaseq.scheduled set run_at = now()")
    return task_id


async def test_promote_before_cancel(pool: Pool, plain: Connection, ledger: TaskLedger) -> None:
    task_id = await _due(ledger, plain)

    promoted, states = await race(pool, plain, winner=_promote(), loser=_cancel(task_id))

    assert promoted == [task_id]
    assert states == {task_id: State.CANCELLED}


async def test_cancel_before_promote(pool: Pool, plain: Connection, ledger: TaskLedger) -> None:
    task_id = await _due(ledger, plain)

    async with holding(pool) as held:
        assert await _cancel(task_id)(held) == {task_id: State.CANCELLED}
        assert await promote_due(ledger, limit=10) == []  # skips locked rows

    assert await promote_due(ledger, limit=10) == []
    assert (await find(ledger, task_id)).state is State.CANCELLED


async def test_promote_that_holds_a_row_which_cancel_has_begun_to_stop(
    pool: Pool, plain: Connection, ledger: TaskLedger
) -> None:
    """The order that would deadlock if cancel waited for the scheduled row: promote has that,
    cancel has the task."""
    task_id = await _due(ledger, plain)
    async with pool.connection() as conn:
        async with conn.transaction():
            # Promote's first half: it has found the row.
            await conn.execute(
                "select 1 from leaseq.scheduled where task_id = %s for update", [task_id]
            )
            assert await ledger.cancel([task_id], tenant="default") == {task_id: State.CANCELLED}
        assert await promote_due(ledger, limit=10) == []
    assert await scheduled(plain) == set()


async def test_redrive_takes_the_row_with_it_that_a_cancel_could_not_see(
    pool: Pool, plain: Connection, ledger: TaskLedger, claim: Claim
) -> None:
    await race(
        pool, plain, winner=_settle(errored(claim, delay=60.0)), loser=_cancel(claim.task_id)
    )
    assert await scheduled(plain) == {claim.task_id}

    (row,) = await ledger.redrive([claim.task_id], tenant="default")
    assert row.state is State.SCHEDULED
    assert await promote_due(ledger, limit=10) == [claim.task_id]
    assert await scheduled(plain) == set()


async def test_redrive_waits_for_promote_which_holds_such_a_row(
    pool: Pool, plain: Connection, ledger: TaskLedger, claim: Claim
) -> None:
    """Both lock the row first and the task second. In the other order they would wait for each
    other."""
    await race(pool, plain, winner=_settle(errored(claim, delay=0.0)), loser=_cancel(claim.task_id))

    promoted, redriven = await race(
        pool,
        plain,
        winner=_promote(),
        loser=_redrive(claim.task_id),
    )

    assert promoted == []
    assert [snapshot.state for snapshot in redriven] == [State.SCHEDULED]
    assert await scheduled(plain) == {claim.task_id}
    assert await promote_due(ledger, limit=10) == [claim.task_id]


async def test_promote_against_promote_shares_the_work(
    pool: Pool, plain: Connection, ledger: TaskLedger
) -> None:
    due = {await _due(ledger, plain) for _ in range(4)}

    async with holding(pool) as held:
        first = await promote_due(TaskLedger(held), limit=2)
        second = await promote_due(ledger, limit=10)

    assert {*first, *second} == due
    assert (len(first), len(second)) == (2, 2)


async def test_redrive_against_redrive(
    pool: Pool, plain: Connection, ledger: TaskLedger, claim: Claim
) -> None:
    await ledger.settle([errored(claim, then=State.FAILED)])

    won, nothing = await race(
        pool, plain, winner=_redrive(claim.task_id), loser=_redrive(claim.task_id)
    )

    assert [snapshot.state for snapshot in won] == [State.SCHEDULED]
    assert nothing == []
    assert await scheduled(plain) == {claim.task_id}


async def test_redrive_promote_then_claim(pool: Pool, ledger: TaskLedger, claim: Claim) -> None:
    await ledger.settle([errored(claim, then=State.FAILED)])

    async with holding(pool) as held:
        await TaskLedger(held).redrive([claim.task_id], tenant="default")
        await promote_due(TaskLedger(held), limit=10)
        # not committed: still FAILED
        assert await ledger.claim([claim.task_id], worker_id=claim.worker_id) == []

    (claimed,) = await ledger.claim([claim.task_id], worker_id=claim.worker_id)
    assert claimed.claim.attempt == 2


async def test_claim_of_a_redriven_task_before_another_redrive(
    pool: Pool, plain: Connection, ledger: TaskLedger, claim: Claim
) -> None:
    await ledger.settle([errored(claim, then=State.FAILED)])

    async def redrive_and_claim(session: Session) -> Any:
        await TaskLedger(session).redrive([claim.task_id], tenant="default")
        await promote_due(TaskLedger(session), limit=10)
        return await TaskLedger(session).claim([claim.task_id], worker_id=claim.worker_id)

    claimed, nothing = await race(
        pool, plain, winner=redrive_and_claim, loser=_redrive(claim.task_id)
    )

    assert len(claimed) == 1
    assert nothing == []
    assert (await find(ledger, claim.task_id)).state is State.PROCESSING


LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"


async def test_prune_before_redrive(
    pool: Pool, plain: Connection, ledger: TaskLedger, claim: Claim
) -> None:
    await ledger.settle([errored(claim, then=State.FAILED)])

    def prune(session: Session) -> Awaitable[Any]:
        return Maintenance(session).prune_tasks(
            after=FIRST_ID, before=LAST_ID, retention_seconds=0, limit=10
        )

    assert await race(pool, plain, winner=prune, loser=_redrive(claim.task_id)) == (
        Pruned(claim.task_id, 1),
        [],
    )


async def test_redrive_before_prune(
    pool: Pool, ledger: TaskLedger, maintenance: Maintenance, claim: Claim
) -> None:
    await ledger.settle([errored(claim, then=State.FAILED)])

    async with holding(pool) as held:
        await TaskLedger(held).redrive([claim.task_id], tenant="default")
        assert await maintenance.prune_tasks(
            after=FIRST_ID, before=LAST_ID, retention_seconds=0, limit=10
        ) == Pruned(claim.task_id, 0)

    assert (await find(ledger, claim.task_id)).state is State.SCHEDULED
