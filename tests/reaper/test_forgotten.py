"""Attempts that an open worker has forgotten."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from leaseq.connections.primary import Timeline
from leaseq.dispatch.deliveries import Release
from leaseq.model import Claim, State
from leaseq.observability.telemetry import recorded
from leaseq_reaper.reconcile.forgotten import PATIENCE_SECONDS
from leaseq_reaper.reconcile.reconcile import Reconcile
from support.ledger import succeeded
from support.reaper import FakeClock, Stage, named, names, reconciler


@pytest.fixture
def reconcile(stage: Stage, clock: FakeClock) -> Reconcile:
    return reconciler(stage.engine, clock=clock)


async def later(reconcile: Reconcile, clock: FakeClock, *, seconds: float = 2.0) -> None:
    """The next pass."""
    clock.now += seconds
    await reconcile.run_once()


async def forgotten(stage: Stage, worker_id: str, *, since_seconds: int = 60) -> str:
    """A task that is PROCESSING under this open worker, whose list does not name it: as after a
    failover that lost a settle."""
    (task_id,) = await stage.submit()
    (claim,) = await stage.take(worker_id)
    await stage.stores.dispatcher.release("default", [Release(task_id)], worker_id=claim.worker_id)
    await stage.plain.execute(
        "update leaseq.tasks set started_at = now() - make_interval(secs => %s)", [since_seconds]
    )
    return task_id


async def test_an_attempt_that_an_open_worker_has_forgotten_goes_back_into_its_own_list(
    stage: Stage, reconcile: Reconcile, clock: FakeClock
) -> None:
    worker_id = await stage.worker()
    task_id = await forgotten(stage, worker_id)
    await reconcile.run_once()
    await later(reconcile, clock, seconds=PATIENCE_SECONDS - 0.1)
    assert await stage.held(worker_id) == []  # its own sweep has the first right
    with recorded() as events:
        await later(reconcile, clock, seconds=0.2)
    assert await stage.held(worker_id) == [task_id]
    (told,) = named(events, "attempt.forgotten")
    assert (told["worker_id"], told["task_ids"]) == (worker_id, [task_id])
    task = await stage.task(task_id)
    assert (task.state, task.attempt, task.worker_id) == (State.PROCESSING, 1, worker_id)


async def test_after_a_failover_of_postgres_an_attempt_that_was_just_started_may_be_forgotten(
    stage: Stage, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = SimpleNamespace(timeline=Timeline("another system", 1))
    monkeypatch.setattr(stage.stores.ownership, "_primary", known)
    reconcile = reconciler(stage.engine, clock=clock)
    await reconcile.run_once()
    worker_id = await stage.worker()
    task_id = await forgotten(stage, worker_id, since_seconds=0)
    known.timeline = Timeline("another system", 2)
    await later(reconcile, clock)
    await later(reconcile, clock, seconds=PATIENCE_SECONDS)
    assert await stage.held(worker_id) == [task_id]


@pytest.mark.parametrize("meanwhile", ["settled", "claimed again", "closed", "restored"])
async def test_an_attempt_that_was_only_on_its_way_is_left_alone(
    stage: Stage, reconcile: Reconcile, clock: FakeClock, meanwhile: str
) -> None:
    worker_id = await stage.worker()
    task_id = await forgotten(stage, worker_id)
    await reconcile.run_once()
    match meanwhile:
        case "settled":
            await stage.stores.tasks.settle([succeeded(Claim(task_id, 1, worker_id))])
        case "claimed again":
            await stage.plain.execute("update leaseq.tasks set attempt = 2")
        case "closed":
            await stage.stores.workers.close_worker(worker_id, reason="silent")
        case _:
            await stage.stores.dispatcher.restore("default", [task_id], worker_id=worker_id)
    with recorded() as events:
        await later(reconcile, clock, seconds=PATIENCE_SECONDS + 0.1)
    assert "attempt.forgotten" not in names(events)
    assert await stage.held(worker_id) == ([task_id] if meanwhile == "restored" else [])
