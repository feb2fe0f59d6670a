"""Rows past their retention are deleted, and no others."""

from __future__ import annotations

import itertools
from datetime import datetime

import pytest

from leaseq.ledger.maintenance import PrunedKeys
from leaseq.ledger.operation_log import Actor, OperationFilter
from leaseq.ledger.task_types import TaskType
from leaseq.model import State
from leaseq.observability.telemetry import recorded
from leaseq_reaper.duties import prune
from leaseq_reaper.duties.prune import Prune
from leaseq_reaper.reconcile.ledger_scan import first_recent_id
from support.reaper import Stage, named

OLD = "interval '4 days'"


async def finished(stage: Stage, count: int = 1, *, key: str | None = None) -> list[str]:
    """Tasks that were submitted and cancelled four days ago."""
    ids = await stage.submit(count, push=False, idempotency_key=key)
    await stage.stores.tasks.cancel(ids, tenant="default")
    for number, task_id in enumerate(ids):
        old_id = first_recent_id(4 * 86_400)[:-6] + f"{number:06x}"
        await stage.plain.execute(
            f"update leaseq.tasks set id = %s, created_at = now() - {OLD}, finished_at = now() - {OLD} where id = %s",
            [old_id, task_id],
        )
        await stage.plain.execute(
            "update leaseq.idempotency_keys set task_id = %s where task_id = %s", [old_id, task_id]
        )
        ids[number] = old_id
    return ids


async def rows(stage: Stage, table: str) -> int:
    cursor = await stage.plain.execute(f"select count(*) from leaseq.{table}")
    return int((await cursor.fetchall())[0][0])


async def test_old_finished_tasks_go_and_their_keys_remember(stage: Stage) -> None:
    await finished(stage, key="order-1")
    (fresh,) = await stage.submit()
    await stage.stores.tasks.cancel([fresh], tenant="default")
    with recorded() as events:
        await Prune(stage.engine.stores, stage.engine.config).run_once()
    assert named(events, "task.pruned") == [{"count": 1, "keys": 0, "workers": 0}]
    assert (await stage.task(fresh)).state is State.CANCELLED
    assert await rows(stage, "tasks") == 1
    found = (await stage.stores.tasks.find_keys([("default", "order-1")]))["default", "order-1"]
    assert found.submitted.state is State.CANCELLED


async def test_an_old_task_that_has_not_finished_stays(stage: Stage) -> None:
    (task_id,) = await stage.submit()
    await stage.plain.execute(
        "update leaseq.tasks set id = %s where id = %s", [first_recent_id(4 * 86_400), task_id]
    )
    await Prune(stage.engine.stores, stage.engine.config).run_once()
    assert await rows(stage, "tasks") == 1


async def test_all_batches_go_in_one_pass_and_two_at_once_do_no_harm(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prune, "BATCH", 2)
    await finished(stage, 5)
    await Prune(stage.engine.stores, stage.engine.config).run_once()
    assert await rows(stage, "tasks") == 0


async def test_a_pass_goes_on_where_the_one_before_had_no_more_time(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And reads what has to stay once, not for each batch."""
    monkeypatch.setattr(prune, "BATCH", 2)
    (waits,) = await stage.submit(push=False)
    await stage.plain.execute(
        "update leaseq.tasks set id = %s where id = %s", [first_recent_id(5 * 86_400), waits]
    )
    await finished(stage, 4)
    # Each look at the clock is later than any pass may last: one batch in each.
    passes = Prune(
        stage.engine.stores, stage.engine.config, clock=itertools.count(step=1_000_000).__next__
    )
    left = []
    for _ in range(4):
        await passes.run_once()
        left.append(await rows(stage, "tasks"))
    assert left == [4, 2, 1, 1]
    # It came to the end, and begins again.
    await finished(stage, 1)
    await passes.run_once()
    assert await rows(stage, "tasks") == 1


async def test_expired_keys_and_workers_closed_long_ago_go(stage: Stage) -> None:
    (spent,) = await stage.submit(idempotency_key="spent")
    await stage.stores.tasks.cancel([spent], tenant="default")
    await stage.plain.execute(
        "update leaseq.idempotency_keys set expires_at = now() - interval '1 second'"
    )
    gone, recent, alive = await stage.worker(), await stage.worker(), await stage.worker()
    for worker_id in (gone, recent):
        await stage.stores.workers.close_worker(worker_id, reason="drained")
    await stage.plain.execute(
        "update leaseq.workers set closed_at = now() - interval '25 hours' where id = %s", [gone]
    )
    with recorded() as events:
        await Prune(stage.engine.stores, stage.engine.config).run_once()
    assert named(events, "task.pruned") == [{"count": 0, "keys": 1, "workers": 1}]
    assert {w.worker_id for w in await stage.stores.workers.list_workers(closed=True)} == {
        recent,
        alive,
    }


async def test_keys_that_expired_at_one_moment_go_in_one_pass(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although a batch begins where the last one ended."""
    monkeypatch.setattr(prune, "BATCH", 2)
    for number in range(6):
        await stage.submit(idempotency_key=f"k{number}")
    await stage.plain.execute("update leaseq.tasks set state = 'CANCELLED', finished_at = now()")
    await stage.plain.execute(
        "update leaseq.idempotency_keys set expires_at = now() - interval '1 second' where key < 'k5'"
    )
    await stage.plain.execute(
        "update leaseq.idempotency_keys set expires_at = now() - interval '1 minute' where key = 'k5'"
    )
    asked: list[bool] = []
    ask = stage.stores.maintenance.prune_keys

    async def told(*, since: datetime | None, limit: int) -> PrunedKeys:
        asked.append(since is None)
        return await ask(since=since, limit=limit)

    monkeypatch.setattr(stage.stores.maintenance, "prune_keys", told)
    await Prune(stage.engine.stores, stage.engine.config).run_once()
    assert await rows(stage, "idempotency_keys") == 0
    assert asked == [True, False, False, False]


async def keep(stage: Stage, name: str, seconds: float) -> None:
    """Register a type that has a retention."""
    await stage.stores.task_types.register_types(
        [TaskType(name, "default", b"null", retention_seconds=seconds)]
    )


async def test_a_type_keeps_its_tasks_for_its_own_retention(stage: Stage) -> None:
    """Both shorter and longer than that of the configuration, which is three days."""
    await keep(stage, "brief", 3600.0)
    await keep(stage, "filed", 30 * 86_400.0)
    ids = await finished(stage, 3)
    recent = first_recent_id(7200)
    await stage.plain.execute(
        "update leaseq.tasks set type = 'filed' where id = any(%s)", [ids[:1]]
    )
    brief = await stage.submit(2, push=False)
    await stage.stores.tasks.cancel(brief, tenant="default")
    await stage.plain.execute(
        "update leaseq.tasks set id = %s, type = 'brief', finished_at = now() - interval '2 hours' where id = %s",
        [recent, brief[0]],
    )
    await stage.plain.execute("update leaseq.tasks set type = 'brief' where id = %s", [brief[1]])

    await Prune(stage.engine.stores, stage.engine.config).run_once()

    cursor = await stage.plain.execute("select id::text from leaseq.tasks order by id")
    assert [row[0] for row in await cursor.fetchall()] == [ids[0], brief[1]]


async def test_after_a_scan_of_many_tasks_that_stay_the_next_one_waits(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prune, "BATCH", 2)
    monkeypatch.setattr(prune, "STAYING_PER_SECOND", 0.01)
    await keep(stage, "add", 30 * 86_400.0)
    (stays, *_) = await finished(stage, 4)
    now = 0.0
    duty = Prune(stage.engine.stores, stage.engine.config, clock=lambda: now)
    await duty.run_once()
    assert await rows(stage, "tasks") == 4
    await stage.plain.execute("update leaseq.tasks set type = 'sub' where id = %s", [stays])

    now = 399.0  # four tasks, a hundred seconds each
    await duty.run_once()
    assert await rows(stage, "tasks") == 4
    now = 400.0
    await duty.run_once()
    assert await rows(stage, "tasks") == 3


async def test_nothing_to_prune_is_no_news(stage: Stage) -> None:
    with recorded() as events:
        await Prune(stage.engine.stores, stage.engine.config).run_once()
    assert events == []


async def test_operations_past_their_retention_are_deleted_in_batches(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prune, "BATCH", 2)
    operator = stage.engine.as_operator(Actor(name="a person", key_id=None, tenant=None))
    for number in range(6):
        await operator.pause(f"q{number}")
    await stage.plain.execute(
        "update leaseq.operations set began_at = now() - interval '91 days' where target <> 'q5'"
    )
    with recorded() as events:
        await Prune(stage.engine.stores, stage.engine.config).run_once()
    assert named(events, "operation.pruned") == [{"count": 5}]
    listing = await stage.engine.list_operations(OperationFilter(), tenant=None)
    assert [operation.target for operation in listing.operations] == ["q5"]
