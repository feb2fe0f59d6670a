"""Unused queues are forgotten, and no others, in every race."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from leaseq.observability.telemetry import recorded
from leaseq_reaper.duties.prune import Prune
from leaseq_reaper.duties.unused_queues import REST, UnusedQueues
from support.dispatch import KEYS
from support.ledger import RETENTION, submission
from support.reaper import FakeClock, Stage, named, unused_queues


@pytest.fixture
async def stage(stage: Stage) -> Stage:
    """Without a queue that is known already."""
    await stage.plain.execute("delete from leaseq.queues")
    return stage


async def names(stage: Stage) -> set[str]:
    return {queue.name for queue in await stage.stores.queues.list_queues()}


async def keys(stage: Stage, queue: str) -> set[str]:
    """The keys of a queue in dispatch."""
    return {
        name.decode().rpartition("}:")[2] for name in await stage.redis.keys(KEYS.pattern(queue))
    }


async def was_used(stage: Stage, *queues: str) -> None:
    """Known queues whose tasks and workers are gone: dispatch still keeps something."""
    await stage.stores.queues.register_queues(queues)
    for queue in queues:
        await stage.lease("gone", queues=[queue])
        await stage.stores.leases.close(queue, worker_id="gone")
        await stage.redis.rpush(KEYS.parked(queue), "garbage")


async def twice(duty: UnusedQueues) -> int:
    """A walk begins in one pass and ends in the next."""
    return await duty.run_once() + await duty.run_once()


async def test_queue_without_tasks_and_workers_is_forgotten_in_both_stores(stage: Stage) -> None:
    await was_used(stage, "empty", "paused", "served", "waiting", "ended")
    await stage.stores.queues.pause("paused", paused=True)
    await stage.worker(queues=["home", "served"])
    await stage.submit(queue="waiting")
    await stage.stores.tasks.cancel(await stage.submit(queue="ended", push=False), tenant="default")
    duty = Prune(stage.engine.stores, stage.engine.config)
    await duty.run_once()
    assert "empty" in await names(stage), "it may have been made a moment ago"
    with recorded() as events:
        await duty.run_once()
    assert await names(stage) == {"paused", "served", "waiting", "ended"}
    assert await keys(stage, "empty") == set()
    assert {"epoch", "parked", "leases", "beats"} <= await keys(stage, "served")
    assert named(events, "queue.forgotten") == [{"count": 1, "queues": ["empty"]}]


async def test_a_queue_is_forgotten_after_its_last_task(stage: Stage) -> None:
    (task_id,) = await stage.submit(queue="short", push=False)
    duty = unused_queues(stage.engine, clock=FakeClock())
    assert await twice(duty) == 0
    await stage.plain.execute("delete from leaseq.tasks where id = %s", [task_id])
    assert await twice(duty) == 1
    assert await names(stage) == set()


async def test_a_submission_while_the_walk_is_under_way_keeps_its_queue(stage: Stage) -> None:
    await was_used(stage, "again")
    duty = unused_queues(stage.engine, clock=FakeClock())
    await duty.run_once()
    await stage.submit(queue="again")
    assert await duty.run_once() == 0
    assert await names(stage) == {"again"}
    assert {"ready", "epoch"} <= await keys(stage, "again")


@pytest.mark.parametrize(
    "what", ["ready", "ready:high", "ready:low", "ready:suspect", "backlog", "leases", "paused"]
)
async def test_dispatch_forgets_nothing_of_a_queue_that_holds_something(
    stage: Stage, what: str
) -> None:
    await was_used(stage, "q")
    await stage.redis.rpush(KEYS.pattern("q").replace("*", what), "something")
    before = await keys(stage, "q")
    assert await stage.stores.dispatcher.forget(["q", "other"]) == ["other"]
    assert await keys(stage, "q") == before
    await stage.redis.delete(KEYS.pattern("q").replace("*", what))
    assert await stage.stores.dispatcher.forget(["q"]) == ["q"]
    assert await keys(stage, "q") == set()


def after_dispatch(stage: Stage, monkeypatch: pytest.MonkeyPatch, act: Any) -> None:
    """Something happens when dispatch has forgotten a queue, and the ledger has not."""
    forget = stage.stores.dispatcher.forget

    async def forget_and_act(queues: Sequence[str]) -> list[str]:
        monkeypatch.setattr(stage.stores.dispatcher, "forget", forget)
        forgotten = await forget(queues)
        await act()
        return forgotten

    monkeypatch.setattr(stage.stores.dispatcher, "forget", forget_and_act)


async def test_a_submission_at_the_last_moment_keeps_its_delivery_and_gets_its_name_back(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await was_used(stage, "late")
    late: list[str] = []

    async def submit() -> None:
        late.extend(await stage.submit(queue="late"))

    after_dispatch(stage, monkeypatch, submit)
    duty = unused_queues(stage.engine, clock=FakeClock())
    assert await twice(duty) == 1
    assert await names(stage) == set()
    assert await stage.lane(queue="late") == late
    assert await twice(duty) == 0
    assert await names(stage) == {"late"}


async def test_a_submission_does_not_wait_for_the_deletion_of_its_queue_and_a_walk_makes_it_again(
    stage: Stage,
) -> None:
    await stage.stores.queues.register_queues(["q"])
    one = submission(queue="q")
    async with stage.plain.transaction():
        await stage.plain.execute("delete from leaseq.queues where name = 'q'")
        submitted = await stage.stores.tasks.submit([one], retention_seconds=RETENTION)
    assert submitted[one.task_id] is not None
    assert await names(stage) == set()
    await was_used(stage, "empty")  # or there were nothing to walk for
    assert await twice(unused_queues(stage.engine, clock=FakeClock())) == 1
    assert await names(stage) == {"q"}


async def test_a_worker_that_begins_to_serve_it_at_the_last_moment_keeps_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await was_used(stage, "late")

    async def begin() -> None:
        await stage.worker(queues=["late"])

    after_dispatch(stage, monkeypatch, begin)
    assert await twice(unused_queues(stage.engine, clock=FakeClock())) == 0
    assert await names(stage) == {"late"}
    assert {"leases", "beats", "epoch"} <= await keys(stage, "late")


async def test_a_queue_that_is_paused_at_the_last_moment_stays_paused(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await was_used(stage, "late")

    async def pause() -> None:
        await stage.engine.pause("late", paused=True)

    after_dispatch(stage, monkeypatch, pause)
    assert await twice(unused_queues(stage.engine, clock=FakeClock())) == 0
    assert await stage.stores.queues.list_paused(limit=9) == ["late"]


async def test_half_forgotten_queue_of_a_dead_reaper_is_forgotten_by_the_next(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await was_used(stage, "half")

    async def die() -> None:
        raise RuntimeError("it died")

    after_dispatch(stage, monkeypatch, die)
    with pytest.raises(RuntimeError):
        await twice(unused_queues(stage.engine, clock=FakeClock()))
    assert await names(stage) == {"half"}
    assert await twice(unused_queues(stage.engine, clock=FakeClock())) == 1


async def test_a_walk_goes_on_where_the_last_pass_ended(
    stage: Stage, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await was_used(stage, "empty")
    for number in range(6):
        await stage.submit(queue=f"q{number}", push=False)
    monkeypatch.setattr("leaseq_reaper.duties.unused_queues.CHUNK", 2)
    find = stage.stores.queues.find_queues

    async def slowly(**asked: Any) -> Any:
        clock.now += stage.engine.config.prune_interval_seconds
        return await find(**asked)

    monkeypatch.setattr(stage.stores.queues, "find_queues", slowly)
    monkeypatch.setattr("leaseq_reaper.duties.unused_queues.PAUSE_CAP_SECONDS", 0)
    duty = unused_queues(stage.engine, clock=clock)
    assert [await duty.run_once() for _ in range(4)] == [0, 0, 0, 1]  # three chunks, and the end
    assert await names(stage) == {f"q{number}" for number in range(6)}


async def test_a_walk_is_not_begun_without_a_reason_nor_all_the_time(
    stage: Stage, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, find = 0, stage.stores.queues.find_queues

    async def count(**asked: Any) -> Any:
        nonlocal looks
        looks += 1
        clock.now += 1.0
        return await find(**asked)

    monkeypatch.setattr(stage.stores.queues, "find_queues", count)
    monkeypatch.setattr("leaseq_reaper.duties.unused_queues.PAUSE_CAP_SECONDS", 0)
    await stage.worker(queues=["served"])
    await stage.stores.queues.register_queues(["served"])
    duty = unused_queues(stage.engine, clock=clock)
    assert await twice(duty) == 0
    assert looks == 0, "every queue is served"
    await stage.submit(queue="busy", push=False)
    await twice(duty)
    assert looks > 0
    before = looks
    await twice(duty)
    assert looks == before, "a walk has just ended"
    clock.now += REST * before
    await twice(duty)
    assert looks > before
