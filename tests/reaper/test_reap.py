"""All tasks of dead workers are recovered once, and no others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from leaseq.errors import ServerUnreachable
from leaseq.model import Lane, State
from leaseq.observability.telemetry import recorded
from leaseq_reaper.duties.dead_workers import TOGETHER, DeadWorkers
from leaseq_reaper.duties.suspicion import Suspicion
from support.dispatch import KEYS, leases_of
from support.processes import PATIENCE
from support.reaper import FakeClock, Stage, named, names, watch

LEASE = 1.0


@pytest.fixture
def reaper(stage: Stage, clock: FakeClock) -> Callable[[], DeadWorkers]:
    """Makes reapers that go by the test's clock."""
    return lambda: new_reaping(stage, clock)


def new_reaping(
    stage: Stage, clock: FakeClock, on_lost_list: Callable[[], None] = lambda: None
) -> DeadWorkers:
    return DeadWorkers(
        stage.engine.stores,
        stage.engine.recovery,
        Suspicion(lease_seconds=LEASE, clock=clock),
        on_lost_list=on_lost_list,
        clock=clock,
    )


def failing_once(call: Callable[..., Any]) -> Callable[..., Any]:
    """The call, except that the first one never gets through."""
    failed = False

    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal failed
        if not failed:
            failed = True
            raise ServerUnreachable("cut")
        return await call(*args, **kwargs)

    return wrapped


async def test_the_tasks_of_a_dead_worker_run_again_after_a_lease(
    stage: Stage, clock: FakeClock, reaper: Callable[[], DeadWorkers]
) -> None:
    ids = await stage.submit(3)
    worker_id = await stage.worker()
    claims = await stage.take(worker_id, limit=2)
    # moved, never claimed
    await stage.stores.dispatcher.pull("default", worker_id=worker_id, limit=1)
    await stage.silence(worker_id)
    reaping = reaper()
    await reaping.run_once()
    await watch(reaping.run_once, clock, seconds=LEASE - 0.1)
    assert await stage.lane() == []
    await watch(reaping.run_once, clock, seconds=0.1)
    assert await stage.lane() == ids
    assert [(await stage.task(i)).state for i in ids] == [State.PENDING] * 3
    assert await stage.losses() == sorted((claim.task_id, 1) for claim in claims)
    assert await stage.held(worker_id) == []
    assert await stage.stores.leases.list_leases("default") == []


async def test_the_reap_of_a_worker_that_lives_and_pulls_for_ever_ends(
    stage: Stage,
    clock: FakeClock,
    reaper: Callable[[], DeadWorkers],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each delivery that is moved back to its lane is pulled again, as long as the lease of the
    worker is registered."""
    ids = await stage.submit(3)
    worker_id = await stage.worker()
    await stage.take(worker_id)
    dispatcher, release = stage.stores.dispatcher, stage.stores.dispatcher.release

    async def release_and_pull(*args: Any, **kwargs: Any) -> int:
        released = await release(*args, **kwargs)
        await dispatcher.pull("default", worker_id=worker_id, limit=2)
        return released

    await stage.silence(worker_id)
    with monkeypatch.context() as patch, recorded() as events:
        patch.setattr(dispatcher, "release", release_and_pull)
        async with asyncio.timeout(PATIENCE):
            await watch(reaper().run_once, clock, seconds=2 * LEASE)
    assert worker_id in {fields["worker_id"] for fields in named(events, "worker.reaped")}
    assert await stage.stores.workers.find_open([worker_id]) == set()
    # The worker has ended: the next pass takes back what it still pulled.
    await watch(reaper().run_once, clock, seconds=3 * LEASE)
    assert await stage.held(worker_id) == []
    assert await stage.lane() == ids
    assert await leases_of(dispatcher).list_leases("default") == []
    assert [(await stage.task(i)).state for i in ids] == [State.PENDING] * 3


async def test_a_task_that_ran_alone_on_a_worker_that_fell_silent_is_not_charged(
    stage: Stage, clock: FakeClock, reaper: Callable[[], DeadWorkers]
) -> None:
    """A preempted host says nothing about what ran there: a loss, and with it the suspicion that
    any loss brings."""
    (task_id,) = await stage.submit()
    await stage.plain.execute("update leaseq.tasks set crash_count = 1")
    worker_id = await stage.worker()
    await stage.take(worker_id)
    await stage.silence(worker_id)
    await watch(reaper().run_once, clock, seconds=2 * LEASE)
    task = await stage.task(task_id)
    assert (task.crash_count, task.loss_count) == (1, 1)
    assert await stage.lane(Lane.SUSPECT) == [task_id]


async def test_two_hosts_lost_together_whose_beats_are_out_of_step_charge_no_task(
    stage: Stage, clock: FakeClock, reaper: Callable[[], DeadWorkers]
) -> None:
    """Each pass finds one of them lapsed, as if it had died alone."""
    ids = []
    reaping = reaper()
    workers = []
    for n in range(2):
        ids += await stage.submit()
        workers.append(await stage.worker(host=f"host{n}"))
        await stage.take(workers[-1])
    await reaping.run_once()
    for worker_id in workers:
        await stage.alive(worker_id)
        await watch(reaping.run_once, clock, seconds=0.15 * LEASE)
    await stage.silence(*workers)
    with recorded() as events:
        await watch(reaping.run_once, clock, seconds=2 * LEASE)
    assert sorted(event["worker_id"] for event in named(events, "worker.reaped")) == workers
    assert [((await stage.task(i)).crash_count, (await stage.task(i)).loss_count) for i in ids] == [
        (0, 1)
    ] * 2


async def test_when_two_die_together_no_task_is_charged_for_it(
    stage: Stage, clock: FakeClock, reaper: Callable[[], DeadWorkers]
) -> None:
    ids = []
    for _ in range(2):
        ids += await stage.submit()
        worker_id = await stage.worker()
        await stage.take(worker_id)
        await stage.silence(worker_id)
    await watch(reaper().run_once, clock, seconds=2 * LEASE)
    assert [((await stage.task(i)).crash_count, (await stage.task(i)).loss_count) for i in ids] == [
        (0, 1)
    ] * 2


async def test_worker_renewed_only_in_the_ledger_is_alive(
    stage: Stage, clock: FakeClock, reaper: Callable[[], DeadWorkers]
) -> None:
    await stage.submit()
    worker_id = await stage.worker()
    await stage.take(worker_id)
    reaping = reaper()
    for _ in range(10):
        await stage.stores.workers.touch([worker_id])
        await watch(reaping.run_once, clock, seconds=0.4 * LEASE)
    assert await stage.losses() == []


async def test_worker_renewed_only_in_dispatch_is_alive(
    stage: Stage, clock: FakeClock, reaper: Callable[[], DeadWorkers]
) -> None:
    await stage.submit()
    worker_id = await stage.worker()
    await stage.take(worker_id)
    await stage.silence(worker_id)
    reaping = reaper()
    for _ in range(10):
        await stage.lease(worker_id)
        await watch(reaping.run_once, clock, seconds=0.4 * LEASE)
    assert await stage.losses() == []


async def test_a_worker_that_dispatch_does_not_know_is_reaped_after_a_lease_and_a_sweep_is_asked_for(
    stage: Stage, clock: FakeClock
) -> None:
    await stage.submit()
    worker_id = await stage.worker()
    await stage.take(worker_id)
    await stage.silence(worker_id)
    await stage.redis.flushall()
    asked: list[str] = []
    reaping = new_reaping(stage, clock, on_lost_list=lambda: asked.append("sweep"))
    await reaping.run_once()
    await watch(reaping.run_once, clock, seconds=LEASE - 0.1)
    assert await stage.stores.workers.find_open([worker_id]) == {worker_id}
    await watch(reaping.run_once, clock, seconds=0.1)
    assert await stage.stores.workers.find_open([worker_id]) == set()
    assert asked == ["sweep"]


async def test_a_worker_heard_of_between_the_judgement_and_the_closing_lives_on(
    stage: Stage,
    clock: FakeClock,
    reaper: Callable[[], DeadWorkers],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (task_id,) = await stage.submit()
    worker_id = await stage.worker()
    (claim,) = await stage.take(worker_id)
    await stage.silence(worker_id)
    close = stage.stores.workers.close_worker

    async def wake_up_first(*args: Any, **kwargs: Any) -> bool:
        await stage.stores.workers.touch([worker_id])
        return await close(*args, **kwargs)

    monkeypatch.setattr(stage.stores.workers, "close_worker", wake_up_first)
    with recorded() as events:
        await watch(reaper().run_once, clock, seconds=3 * LEASE)
    assert "worker.suspected" in names(events)
    assert "worker.reaped" not in names(events)
    task = await stage.task(task_id)
    assert (task.state, task.worker_id, task.attempt) == (
        State.PROCESSING,
        worker_id,
        claim.attempt,
    )
    assert await stage.held(worker_id) == [task_id]


async def test_two_reapers_at_once_lose_nothing_and_settle_nothing_twice(
    stage: Stage, clock: FakeClock, reaper: Callable[[], DeadWorkers]
) -> None:
    ids = await stage.submit(700)
    workers = [await stage.worker(), await stage.worker()]
    for worker_id, limit in zip(workers, (400, 300), strict=True):
        await stage.take(worker_id, limit=limit)
    await stage.silence(*workers)
    one, two = reaper(), reaper()

    async def both() -> None:
        await asyncio.gather(one.run_once(), two.run_once())

    await both()
    await watch(both, clock, seconds=4 * LEASE)
    assert sorted(await stage.lane()) == sorted(ids)
    assert await stage.losses() == [(task_id, 1) for task_id in sorted(ids)]
    assert [await stage.held(worker_id) for worker_id in workers] == [[], []]


@pytest.mark.parametrize(
    ("store", "step"),
    [
        pytest.param("workers", "end_sessions", id="closed, sessions not ended"),
        pytest.param("tasks", "find_held", id="closed, nothing settled"),
        pytest.param("tasks", "settle", id="closed, settling cut off"),
        pytest.param("tasks", "find_snapshots", id="settled, deliveries not moved"),
        pytest.param("dispatcher", "release", id="settled, moving cut off"),
        pytest.param("leases", "close", id="moved, not forgotten"),
    ],
)
async def test_forgetting_cut_off_between_two_steps_is_finished(
    store: str,
    step: str,
    stage: Stage,
    clock: FakeClock,
    reaper: Callable[[], DeadWorkers],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ids = await stage.submit(3)
    worker_id = await stage.worker()
    await stage.take(worker_id)
    await stage.silence(worker_id)
    target = getattr(stage.stores, store)
    monkeypatch.setattr(target, step, failing_once(getattr(target, step)))
    reaping = reaper()
    await reaping.run_once()
    # Both servers answer, so the cut counts as this worker's own failure, and is reported at the
    # end of the pass.
    with pytest.raises(ServerUnreachable, match="cut"):
        await watch(reaping.run_once, clock, seconds=LEASE)
    await reaping.run_once()
    assert sorted(await stage.lane()) == sorted(ids)
    assert await stage.losses() == [(task_id, 1) for task_id in sorted(ids)]
    assert await stage.stores.leases.list_leases("default") == []


async def test_a_reaping_whose_author_died_is_finished_but_not_under_his_hands(
    stage: Stage, clock: FakeClock, reaper: Callable[[], DeadWorkers]
) -> None:
    ids = await stage.submit(2)
    worker_id = await stage.worker()
    await stage.take(worker_id)
    await stage.stores.workers.close_worker(worker_id, reason="killed by SIGKILL")
    reaping = reaper()
    await reaping.run_once()
    await watch(reaping.run_once, clock, seconds=0.9)
    assert await stage.losses() == []
    await watch(reaping.run_once, clock, seconds=0.1)
    assert sorted(await stage.lane()) == ids
    assert [(await stage.task(i)).crash_count for i in ids] == [0, 0]


async def test_a_lease_of_a_worker_the_ledger_has_forgotten_goes_too(
    stage: Stage, clock: FakeClock, reaper: Callable[[], DeadWorkers]
) -> None:
    ids = await stage.submit(2)
    await stage.lease("stranger")
    await stage.stores.dispatcher.pull("default", worker_id="stranger", limit=2)
    reaping = reaper()
    reaping.look_in({"default"})  # so says the scan of dispatch
    await reaping.run_once()
    await watch(reaping.run_once, clock, seconds=1.2)
    assert await stage.lane() == ids
    assert await stage.stores.leases.list_leases("default") == []


async def test_most_of_the_fleet_lapsing_at_once_is_looked_at_again_after_a_lease(
    stage: Stage, clock: FakeClock, reaper: Callable[[], DeadWorkers]
) -> None:
    workers = [await stage.worker(host=f"host{n}") for n in range(4)]
    await stage.submit(4)
    for worker_id in workers:
        await stage.take(worker_id, limit=1)
    await stage.silence(*workers)
    reaping = reaper()
    await reaping.run_once()
    with recorded() as events:
        await watch(reaping.run_once, clock, seconds=LEASE)
        assert named(events, "reaper.braked") == [
            {"lapsed": 4, "workers": 4, "hosts": 4, "seconds": LEASE}
        ]
        await stage.alive(workers[0])
        await watch(reaping.run_once, clock, seconds=LEASE - 0.1)
        assert await stage.losses() == []
        await stage.alive(workers[0])
        await watch(reaping.run_once, clock, seconds=0.2)
    assert names(events).count("reaper.braked") == 1
    assert len(await stage.losses()) == 3
    assert await stage.stores.workers.find_open(workers) == {workers[0]}


async def test_one_host_that_takes_all_workers_along_is_no_outage(
    stage: Stage, clock: FakeClock, reaper: Callable[[], DeadWorkers]
) -> None:
    workers = [await stage.worker() for _ in range(4)]
    await stage.silence(*workers)
    reaping = reaper()
    await reaping.run_once()
    with recorded() as events:
        await watch(reaping.run_once, clock, seconds=LEASE)
    assert "reaper.braked" not in names(events)
    assert await stage.stores.workers.find_open(workers) == set()


async def test_the_workers_of_a_lost_host_are_reaped_several_at_a_time(
    stage: Stage,
    clock: FakeClock,
    reaper: Callable[[], DeadWorkers],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each waits for a dozen answers, so that a host with 64 of them would take many seconds far
    from the stores."""
    workers = [await stage.worker() for _ in range(2 * TOGETHER)]
    await stage.silence(*workers)
    together, close = asyncio.Barrier(TOGETHER), stage.stores.workers.close_worker

    async def close_together(*args: Any, **kwargs: Any) -> Any:
        async with asyncio.timeout(PATIENCE):
            await together.wait()
        return await close(*args, **kwargs)

    monkeypatch.setattr(stage.stores.workers, "close_worker", close_together)
    reaping = reaper()
    await reaping.run_once()
    await watch(reaping.run_once, clock, seconds=LEASE)
    assert await stage.stores.workers.find_open(workers) == set()


async def test_no_worker_is_reaped_for_a_lease_after_a_redis_outage(
    stage: Stage,
    clock: FakeClock,
    reaper: Callable[[], DeadWorkers],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker_id = await stage.worker()
    await stage.silence(worker_id)
    reaping = reaper()
    await reaping.run_once()
    await watch(reaping.run_once, clock, seconds=0.8)
    for target, call in (
        (stage.stores.leases, "list_leases"),
        (stage.stores.dispatch_server, "probe"),
    ):
        monkeypatch.setattr(target, call, failing_once(getattr(target, call)))
    with pytest.raises(ServerUnreachable):
        await reaping.run_once()
    with recorded() as events:
        await watch(reaping.run_once, clock, seconds=LEASE)
        assert await stage.stores.workers.find_open([worker_id]) == {worker_id}
        assert names(events).count("reaper.quieted") == 1
        await watch(reaping.run_once, clock, seconds=0.4)
    assert await stage.stores.workers.find_open([worker_id]) == set()


async def test_garbage_in_a_dead_workers_list_is_parked(
    stage: Stage, clock: FakeClock, reaper: Callable[[], DeadWorkers]
) -> None:
    ids = await stage.submit(2)
    worker_id = await stage.worker()
    await stage.take(worker_id)
    unknown = "00000000-0000-7000-8000-000000000001"
    garbage = b"\xff\x00; drop table"
    await stage.redis.rpush(KEYS.processing("default", worker_id), "", garbage, unknown)
    await stage.silence(worker_id)
    reaping = reaper()
    await reaping.run_once()
    await watch(reaping.run_once, clock, seconds=LEASE)
    assert set(await stage.redis.lrange(KEYS.parked("default"), 0, -1)) == {
        garbage,
        unknown.encode(),
    }
    assert await stage.lane() == ids


async def test_keys_of_another_type_and_impossible_names_keep_no_worker_from_being_reaped(
    stage: Stage, clock: FakeClock, reaper: Callable[[], DeadWorkers]
) -> None:
    await stage.worker(queues=["broken"], leased=False)
    await stage.redis.set(KEYS.leases("broken"), "not a zset")
    await stage.redis.zadd(KEYS.leases("default"), {b"a\x00b": 1, b"\xff": 1})
    bad, good = await stage.worker(), await stage.worker()
    ids = await stage.submit(2)
    await stage.redis.set(KEYS.processing("default", bad), "not a list")
    await stage.take(good)
    await stage.silence(bad, good)
    await stage.redis.zadd(KEYS.leases("default"), {"x": float("inf"), "y": float("-inf")})
    await stage.redis.hset(KEYS.beats("default"), good, "abc")
    reaping = reaper()
    await reaping.run_once()
    await watch(reaping.run_once, clock, seconds=2 * LEASE)
    assert sorted(await stage.lane()) == sorted(ids)
    assert await stage.redis.zrange(KEYS.leases("default"), 0, -1) == []
