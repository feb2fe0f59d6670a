"""Attempts that the ledger gives to an open worker which knows nothing of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from leaseq import Context, Leaseq, Retry
from leaseq.config import Config
from leaseq.errors import ServerUnreachable
from leaseq.model import State
from leaseq.observability.telemetry import recorded
from leaseq.operations.engine import Engine
from leaseq.operations.open_engine import open_engine
from leaseq.worker.intake.claimer import Claimer
from leaseq_reaper.reconcile.forgotten import PATIENCE_SECONDS
from leaseq_reaper.reconcile.reconcile import Reconcile
from support.client import Client
from support.ledger import promote_due
from support.reaper import FakeClock
from support.worker import until, working


@pytest.fixture
async def reaping(config: Config) -> AsyncIterator[Engine]:
    async with open_engine(config, name="leaseq test reaper") as engine:
        yield engine


async def reconciled(engine: Engine, client: Client) -> None:
    """The passes of a reaper that see an attempt which has run for a while, twice."""
    await client.rows("update leaseq.tasks set started_at = started_at - interval '1 minute'")
    clock = FakeClock()
    reconcile = Reconcile(
        engine.stores,
        engine.recovery,
        interval_seconds=engine.config.reconcile_interval_seconds,
        clock=clock,
    )
    await reconcile.run_once()
    clock.now += PATIENCE_SECONDS
    await reconcile.run_once()


async def test_a_settle_that_a_failover_lost_is_made_up_for_by_the_worker_itself(
    config: Config, client: Client, reaping: Engine
) -> None:
    app = Leaseq()
    fences: list[int] = []

    @app.task
    async def note(ctx: Context) -> None:
        fences.append(ctx.fence)

    async with working(config, app) as worker:
        task_id = await client.submit("note")
        await client.ended(task_id)
        await until(lambda: not worker.running)
        # The state of the promoted standby, which lacks the settle.
        await client.rows(
            "update leaseq.tasks set state = 'PROCESSING', finished_at = null, result = null, worker_id = %s",
            worker.worker_id,
        )
        with recorded() as events:
            await reconciled(reaping, client)
            task = await client.ended(task_id)
    assert "attempt.forgotten" in {event.name for event in events}
    assert (task.state, task.attempt) == (State.SUCCESS, 1)
    assert len(fences) == 2
    # the price: after a failover a handler may start twice under one fence
    assert len(set(fences)) == 1


async def test_a_claim_that_arrives_after_its_sender_has_given_it_up_runs(
    config: Config, client: Client, reaping: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The statement is executed by another session: its sender ends its own where it can, which is
    luck in a failover."""
    app = Leaseq()
    attempts: list[int] = []

    @app.task
    async def flaky(ctx: Context) -> None:
        attempts.append(ctx.attempt)
        if len(attempts) == 1:
            raise Retry(delay=60)

    async with working(config, app) as worker:
        claim, late = worker._claimer.claim, list[str]()

        async def lost_on_the_way(task_ids: list[str]) -> Any:
            if late:
                return await claim(task_ids)
            late.extend(task_ids)
            raise ServerUnreachable("given up")

        monkeypatch.setattr(Claimer, "claim", lambda _, task_ids: lost_on_the_way(task_ids))
        task_id = await client.submit("flaky", options={"max_attempts": 3})
        await until(lambda: len(attempts) == 1, seconds=30)
        assert late == [task_id]

        async def in_state(state: State) -> bool:
            return (await client.find(task_id)).state is state

        await until(lambda: in_state(State.SCHEDULED), seconds=30)
        await client.rows("update leaseq.scheduled set run_at = now()")
        # its delivery is pulled by another worker, and dropped
        await promote_due(reaping.stores.tasks, limit=10)
        await reaping.stores.tasks.claim(late, worker_id=worker.worker_id)
        assert await in_state(State.PROCESSING)
        await reconciled(reaping, client)
        task = await client.ended(task_id)
    assert (task.state, attempts) == (State.SUCCESS, [1, 2])
