"""One row that a person has locked keeps the reaper from nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any

import psycopg
import pytest

from leaseq.connections.postgres import LOCK_SECONDS
from leaseq.ledger.session import Locked
from leaseq.model import State
from leaseq.observability.telemetry import recorded
from leaseq.operations.recover import Death
from leaseq_reaper.duties.dead_workers import PATIENCE_SECONDS, DeadWorkers
from leaseq_reaper.duties.suspicion import Suspicion
from support.reaper import QUEUE, FakeClock, Stage, named, names, reconciler, watch
from support.servers import person

LEASE = 1.0


@asynccontextmanager
async def locking(stage: Stage, *task_ids: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """The rows of these tasks are locked until the block ends."""
    async with person(stage.engine.config) as conn:
        await conn.execute(
            "select from leaseq.tasks where id = any(%s::uuid[]) for update", [list(task_ids)]
        )
        yield conn
        await conn.rollback()


def death(worker_id: str) -> Death:
    return Death(worker_id=worker_id, queues=[QUEUE], reason="killed by SIGKILL")


async def test_a_reap_goes_around_a_locked_row_and_the_next_pass_finishes_it(
    stage: Stage, clock: FakeClock
) -> None:
    ids = await stage.submit(10)
    worker_id = await stage.worker()
    await stage.take(worker_id)
    locked, free = ids[3], ids[:3] + ids[4:]
    reaping = DeadWorkers(
        stage.engine.stores,
        stage.engine.recovery,
        Suspicion(lease_seconds=LEASE, clock=clock),
        clock=clock,
    )
    with recorded() as events:
        async with locking(stage, locked):
            assert await stage.engine.recovery.recover(death(worker_id))
            assert await stage.lane() == free
            assert await stage.held(worker_id) == [locked]
            assert (await stage.task(locked)).state is State.PROCESSING
            for _ in range(5):
                await watch(reaping.run_once, clock, seconds=PATIENCE_SECONDS)
            assert await stage.held(worker_id) == [locked]
        await watch(reaping.run_once, clock, seconds=PATIENCE_SECONDS)
    assert await stage.held(worker_id) == []
    assert sorted(await stage.lane()) == ids
    assert await stage.losses() == [(task_id, 1) for task_id in ids]
    assert await stage.stores.leases.list_leases(QUEUE) == []
    (told,) = named(events, "task.locked")
    assert (told["verb"], told["task_ids"], told["count"]) == ("recover", [locked], 1)
    assert "application 'psql'" in told["held_by"][0]
    assert names(events).count("worker.reaped") == 2, (
        "not again for each pass that could do nothing"
    )
    assert "loop.failed" not in names(events)


async def test_a_locked_row_of_one_dead_worker_delays_no_other(
    stage: Stage, clock: FakeClock
) -> None:
    ids = await stage.submit(6)
    workers = [await stage.worker() for _ in range(3)]
    for worker_id in workers:
        await stage.take(worker_id, limit=2)
    await stage.silence(*workers)
    reaping = DeadWorkers(
        stage.engine.stores,
        stage.engine.recovery,
        Suspicion(lease_seconds=LEASE, clock=clock),
        clock=clock,
    )
    async with locking(stage, ids[0]):
        await watch(reaping.run_once, clock, seconds=4 * LEASE)
        assert sorted(await stage.lane()) == ids[1:]


async def test_the_locked_row_of_a_dead_worker_itself_delays_no_other(
    stage: Stage, clock: FakeClock
) -> None:
    ids = await stage.submit(6)
    workers = [await stage.worker() for _ in range(3)]
    for worker_id in workers:
        await stage.take(worker_id, limit=2)
    await stage.silence(*workers)
    reaping = DeadWorkers(
        stage.engine.stores,
        stage.engine.recovery,
        Suspicion(lease_seconds=LEASE, clock=clock),
        clock=clock,
    )
    with recorded() as events:
        async with person(stage.engine.config) as psql:
            await psql.execute("select from leaseq.workers where id = %s for update", [workers[0]])
            with suppress(Locked):
                await watch(reaping.run_once, clock, seconds=4 * LEASE)
            began = monotonic()
            for _ in range(5):
                with suppress(Locked):
                    await watch(reaping.run_once, clock, seconds=0.4 * LEASE)
            assert monotonic() - began < LOCK_SECONDS, "no second pass waits for it"
            assert sorted(await stage.lane()) == ids[2:]
        await watch(reaping.run_once, clock, seconds=LEASE)
    assert sorted(await stage.lane()) == ids
    assert [told["worker_id"] for told in named(events, "worker.locked")] == [workers[0]]
    assert "reaper.quieted" not in names(events)


async def test_a_row_that_is_locked_for_a_moment_is_waited_for(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session of a dead worker that is about to end, for example."""
    ids = await stage.submit(2)
    worker_id = await stage.worker()
    await stage.take(worker_id)
    async with locking(stage, ids[0]) as conn:
        find = stage.stores.tasks.find_locked

        async def then_free(task_ids: list[str]) -> list[str]:
            found = await find(task_ids)
            await conn.rollback()
            return found

        monkeypatch.setattr(stage.stores.tasks, "find_locked", then_free)
        with recorded() as events:
            await stage.engine.recovery.recover(death(worker_id))
    assert await stage.lane() == ids
    assert "task.locked" not in names(events)


async def test_an_orphan_whose_row_is_locked_is_tried_again_and_holds_up_no_other(
    stage: Stage, clock: FakeClock
) -> None:
    reconcile = reconciler(stage.engine, clock=clock)
    ids = await stage.submit(3)
    worker_id = await stage.worker()
    await stage.take(worker_id)
    await stage.stores.workers.close_worker(worker_id, reason="killed by SIGKILL")
    await stage.redis.flushall()
    async with locking(stage, ids[0]):
        for _ in range(4):
            await reconcile.run_once()
            clock.now += 1.5
        assert await stage.losses() == [(task_id, 1) for task_id in ids[1:]]
    # the walks need not find it a second time
    reconcile._slow_scan.cursor = reconcile._recent_scan.cursor = None
    await reconcile._orphans.settle()
    assert await stage.losses() == [(task_id, 1) for task_id in ids]
