"""Dispatch comes to agree with the ledger after any loss."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
import psycopg
import pytest

from leaseq.codec import new_task_id
from leaseq.config import Config
from leaseq.dispatch import queue_lists
from leaseq.embedded import ValkeyServer
from leaseq.errors import ServerUnreachable
from leaseq.model import Lane, Priority, State
from leaseq.observability.telemetry import recorded
from leaseq.operations.open_engine import open_engine
from leaseq_reaper.duties.promote import Promote
from leaseq_reaper.isolation import AT_ONCE
from leaseq_reaper.reconcile import ledger_scan
from leaseq_reaper.reconcile.ledger_scan import first_id_at, first_recent_id
from leaseq_reaper.reconcile.reconcile import Reconcile
from support.dispatch import KEYS
from support.ledger import scheduled, succeeded
from support.processes import PATIENCE
from support.reaper import FakeClock, Stage, named, names, reconciler
from support.servers import person


@pytest.fixture
def reconcile(stage: Stage, clock: FakeClock) -> Reconcile:
    return reconciler(stage.engine, clock=clock)


async def later(reconcile: Reconcile, clock: FakeClock, *, seconds: float = 2.0) -> None:
    """The next pass."""
    clock.now += seconds
    await reconcile.run_once()


@asynccontextmanager
async def on_valkey(config: Config, server: ValkeyServer) -> AsyncIterator[Stage]:
    """A stage whose Redis may be killed."""
    async with (
        open_engine(msgspec.structs.replace(config, redis_url=server.url)) as engine,
        await psycopg.AsyncConnection.connect(str(config.postgres_url), autocommit=True) as plain,
    ):
        await engine.stores.queues.register_queues(["default"])
        yield Stage(engine, plain)


async def test_lost_push_is_found_in_the_next_pass_and_logged(
    stage: Stage, reconcile: Reconcile, clock: FakeClock
) -> None:
    await reconcile.run_once()
    ids = await stage.submit(3, push=False)
    high = await stage.submit(1, push=False, priority=Priority.HIGH)
    with recorded() as events:
        await later(reconcile, clock)
    assert await stage.lane() == ids
    assert await stage.lane(Lane.HIGH) == high
    (told,) = named(events, "task.redispatched")
    assert (told["queue"], told["count"], told["task_ids"]) == ("default", 4, [*ids, *high])


async def test_a_look_during_which_the_reaper_was_frozen_is_not_rested_from(
    stage: Stage, reconcile: Reconcile, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await reconcile.run_once()
    waiting = stage.stores.lists.waiting

    async def freeze(queue: str, *, among: set[str]) -> set[str]:
        clock.now += 300.0
        return await waiting(queue, among=among)

    ids = await stage.submit(push=False)
    with monkeypatch.context() as patch:
        patch.setattr(stage.stores.lists, "waiting", freeze)
        await later(reconcile, clock)
    ids += await stage.submit(push=False)
    await later(reconcile, clock)
    assert await stage.lane() == ids


async def test_recent_submission_is_left_to_its_push(
    stage: Stage, reconcile: Reconcile, clock: FakeClock
) -> None:
    await stage.submit(push=False, quiet=False)
    await reconcile.run_once()
    assert await stage.lane() == []


async def test_task_known_to_dispatch_is_not_delivered_again(
    stage: Stage, reconcile: Reconcile, clock: FakeClock
) -> None:
    waiting = await stage.submit(2)
    worker_id = await stage.worker()
    await stage.stores.dispatcher.pull("default", worker_id=worker_id, limit=1)
    with recorded() as events:
        await reconcile.run_once()
        await later(reconcile, clock)
    assert "task.redispatched" not in names(events)
    assert await stage.lane() == waiting[1:]


async def test_client_clock_ahead_delays_no_other_lost_push(
    stage: Stage, reconcile: Reconcile, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The walk over recent tasks ends a little after now; what lies further ahead is for the walk
    over all of them."""
    monkeypatch.setattr(ledger_scan, "CHUNK", 3)
    await reconcile.run_once()
    monkeypatch.setattr(reconcile, "_budget", 0.0)  # one chunk of each walk in a pass
    tomorrow = [first_id_at(time.time() + 86_400 + n)[:-1] + "1" for n in range(30)]
    for task_id in tomorrow:
        await stage.submit(1, task_id=task_id)
    await later(reconcile, clock)
    ids = await stage.submit(2, push=False)
    await later(reconcile, clock)
    await later(reconcile, clock)
    assert set(ids) <= set(await stage.lane())
    lost = first_id_at(time.time() + 2 * 86_400)
    await stage.submit(1, task_id=lost, push=False)
    for _ in range(30):
        await later(reconcile, clock)
    assert lost in await stage.lane()


async def test_a_suspects_delivery_goes_back_to_the_suspect_lane(
    stage: Stage, reconcile: Reconcile, clock: FakeClock
) -> None:
    (task_id,) = await stage.submit(push=False)
    await stage.plain.execute("update leaseq.tasks set loss_count = 2")
    await reconcile.run_once()
    assert await stage.lane(Lane.SUSPECT) == [task_id]
    with recorded() as events:
        await later(reconcile, clock)
    assert "task.redispatched" not in names(events)


async def test_a_task_claimed_between_the_two_looks_is_let_go(
    stage: Stage, reconcile: Reconcile, monkeypatch: pytest.MonkeyPatch
) -> None:
    (task_id,) = await stage.submit(push=False)
    worker_id = await stage.worker()
    processing = stage.stores.lists.processing

    async def claim_first(*args: Any, **kwargs: Any) -> set[str]:
        await stage.stores.tasks.claim([task_id], worker_id=worker_id)
        return await processing(*args, **kwargs)

    monkeypatch.setattr(stage.stores.lists, "processing", claim_first)
    await reconcile.run_once()
    assert await stage.lane() == []
    assert (await stage.task(task_id)).state is State.PROCESSING


async def test_a_task_claimed_and_released_between_the_two_looks_is_let_go(
    stage: Stage, reconcile: Reconcile, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.submit(push=False)
    processing = stage.stores.lists.processing

    async def go_round_first(*args: Any, **kwargs: Any) -> set[str]:
        await stage.plain.execute("update leaseq.tasks set attempt = attempt + 1")
        return await processing(*args, **kwargs)

    monkeypatch.setattr(stage.stores.lists, "processing", go_round_first)
    await reconcile.run_once()
    assert await stage.lane() == []


async def test_flushall_brings_back_the_waiting_in_order_and_leaves_live_work_alone(
    stage: Stage, clock: FakeClock
) -> None:
    told: list[str] = []
    reconcile = reconciler(stage.engine, on_loss=told.append, clock=clock)
    worker_id, closed = await stage.worker(), await stage.worker()
    running, orphan, *waiting = await stage.submit(5)
    await stage.take(worker_id, limit=1)
    await stage.take(closed, limit=1)
    await reconcile.run_once()
    await stage.redis.flushall()
    just_lost = await stage.submit(push=False, quiet=False)
    await stage.stores.workers.close_worker(closed, reason="reaped after the flush")
    with recorded() as events:
        await later(reconcile, clock)
    assert names(events).count("epoch.changed") == 1
    assert told == ["the epoch of dispatch has changed"]
    assert await stage.lane() == waiting + just_lost
    assert (await stage.task(orphan)).state is State.PROCESSING
    await later(reconcile, clock)
    assert await stage.lane() == [*waiting, *just_lost, orphan]
    task = await stage.task(orphan)
    assert (task.state, task.loss_count, task.crash_count) == (State.PENDING, 1, 0)
    live = await stage.task(running)
    assert (live.state, live.worker_id, live.attempt) == (State.PROCESSING, worker_id, 1)


async def test_an_attempt_whose_worker_is_open_is_never_an_orphan_however_dead_it_looks(
    stage: Stage, reconcile: Reconcile, clock: FakeClock
) -> None:
    (task_id,) = await stage.submit()
    worker_id = await stage.worker()
    await stage.take(worker_id)
    await stage.silence(worker_id)
    await stage.redis.flushall()
    for _ in range(3):
        await later(reconcile, clock)
    assert (await stage.task(task_id)).worker_id == worker_id
    assert await stage.lane() == []


async def test_after_a_loss_of_data_a_thousand_queues_are_not_brought_back_one_by_one(
    stage: Stage, reconcile: Reconcile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each cost half a dozen round trips: on a busy machine the queues behind them waited for
    minutes."""
    ids = [(await stage.submit(queue=f"q{number}", push=False))[0] for number in range(40)]
    snapshot, list_leases = stage.stores.tasks.find_snapshots, stage.stores.leases.list_leases
    statements, together = list[int](), asyncio.Barrier(AT_ONCE)

    async def counted(task_ids: Sequence[str]) -> Any:
        statements.append(len(task_ids))
        return await snapshot(task_ids)

    async def in_company(queue: str) -> Any:
        async with asyncio.timeout(PATIENCE):
            await together.wait()
        return await list_leases(queue)

    monkeypatch.setattr(stage.stores.tasks, "find_snapshots", counted)
    monkeypatch.setattr(stage.stores.leases, "list_leases", in_company)
    await reconcile.run_once()
    assert statements == [len(ids)]
    assert [await stage.lane(queue=f"q{number}") for number in range(40)] == [
        [task_id] for task_id in ids
    ]


async def test_an_orphan_is_left_for_a_moment_to_whoever_closed_its_worker(
    stage: Stage, reconcile: Reconcile, clock: FakeClock
) -> None:
    (task_id,) = await stage.submit()
    worker_id = await stage.worker()
    await stage.take(worker_id)
    await stage.stores.workers.close_worker(worker_id, reason="killed by SIGKILL")
    await reconcile.run_once()
    await later(reconcile, clock, seconds=0.9)
    assert await stage.losses() == []
    await later(reconcile, clock, seconds=0.1)
    assert await stage.losses() == [(task_id, 1)]


async def test_an_orphan_that_redis_did_not_take_back_is_delivered_in_the_next_pass(
    stage: Stage, reconcile: Reconcile, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its id is older than what the walk over recent tasks reads, and a sweep comes once a minute
    at most."""
    (task_id,) = await stage.submit()
    worker_id = await stage.worker()
    await stage.take(worker_id)
    await stage.stores.workers.close_worker(worker_id, reason="silent")
    await reconcile.run_once()
    with monkeypatch.context() as patched:

        async def push(*args: Any, **kwargs: Any) -> Any:
            raise ServerUnreachable("the disk is full")

        patched.setattr(stage.stores.dispatcher, "push", push)
        with pytest.raises(ServerUnreachable, match="full"):
            await later(reconcile, clock)
    assert await stage.losses() == [(task_id, 1)]
    assert await stage.lane() == []
    await reconcile.run_once()
    assert await stage.lane() == [task_id]


async def test_an_orphan_that_its_stale_worker_settles_first_is_not_settled_again(
    stage: Stage, reconcile: Reconcile, clock: FakeClock
) -> None:
    (task_id,) = await stage.submit()
    worker_id = await stage.worker()
    (lease,) = await stage.take(worker_id)
    await stage.stores.workers.close_worker(worker_id, reason="silent")
    await reconcile.run_once()
    await stage.stores.tasks.settle([succeeded(lease)])
    await later(reconcile, clock)
    assert (await stage.task(task_id)).state is State.SUCCESS
    assert await stage.lane() == []


async def test_a_scheduled_task_without_its_row_is_promoted_all_the_same(
    stage: Stage, reconcile: Reconcile, clock: FakeClock
) -> None:
    due, later_on = await stage.submit(2, push=False, delay_seconds=60.0)
    await stage.plain.execute(
        "update leaseq.tasks set run_at = now() - interval '2 minutes' where id = %s", [due]
    )
    await stage.plain.execute("delete from leaseq.scheduled")
    with recorded() as events:
        await reconcile.run_once()
    (told,) = named(events, "task.rescheduled")
    assert told["task_ids"] == [due]
    await Promote(stage.engine.stores).run_once()
    assert await stage.lane() == [due]
    assert (await stage.task(later_on)).state is State.SCHEDULED


async def test_a_locked_task_keeps_no_other_one_from_getting_its_row_back(
    stage: Stage, reconcile: Reconcile
) -> None:
    locked, other = await stage.submit(2, push=False, delay_seconds=60.0)
    await stage.plain.execute("update leaseq.tasks set run_at = now() - interval '2 minutes'")
    await stage.plain.execute("delete from leaseq.scheduled")
    async with person(stage.engine.config) as conn:
        await conn.execute("select from leaseq.tasks where id = %s for update", [locked])
        await reconcile.run_once()
        assert await scheduled(stage.plain) == {other}


async def test_two_reconcilers_at_once_lose_nothing_and_settle_nothing_twice(
    stage: Stage, clock: FakeClock
) -> None:
    ids = await stage.submit(50)
    worker_id = await stage.worker()
    taken = await stage.take(worker_id, limit=20)
    two = [reconciler(stage.engine, clock=clock) for _ in range(2)]
    await asyncio.gather(*(one.run_once() for one in two))
    await stage.redis.flushall()
    await stage.stores.workers.close_worker(worker_id, reason="silent")
    for _ in range(3):
        clock.now += 2
        await asyncio.gather(*(one.run_once() for one in two))
    assert set(await stage.lane()) == set(ids)
    assert await stage.losses() == sorted((lease.task_id, 1) for lease in taken)


async def test_the_pause_flag_of_the_ledger_is_restored(
    stage: Stage, reconcile: Reconcile, clock: FakeClock
) -> None:
    await stage.stores.queues.pause("default", paused=True)
    await stage.submit()
    worker_id = await stage.worker()
    await reconcile.run_once()
    assert (
        await stage.stores.dispatcher.pull("default", worker_id=worker_id, limit=1)
    ).code == "paused"
    await stage.stores.queues.pause("default", paused=False)
    await later(reconcile, clock)
    assert (
        len((await stage.stores.dispatcher.pull("default", worker_id=worker_id, limit=1)).task_ids)
        == 1
    )


async def test_a_list_without_an_owner_is_brought_back_and_one_with_an_open_owner_is_not(
    stage: Stage, reconcile: Reconcile, clock: FakeClock
) -> None:
    ids = await stage.submit(3, quiet=False)
    closed = await stage.worker(leased=False)
    alive = await stage.worker(leased=False)
    await stage.stores.workers.close_worker(closed, reason="reaped before")
    await stage.redis.delete(KEYS.ready("default", Lane.NORMAL))
    for owner, task_id in zip((closed, "forgotten", alive), ids, strict=True):
        await stage.redis.rpush(KEYS.processing("default", owner), task_id)
    await stage.redis.rpush(KEYS.processing("default", "no\x00name"), "x")
    await reconcile.run_once()
    assert sorted(await stage.lane()) == ids[:2]
    assert await stage.held(alive) == ids[2:]


async def test_a_lease_of_a_worker_that_was_closed_long_ago_is_found_by_the_scan(
    stage: Stage, clock: FakeClock
) -> None:
    told: set[str] = set()
    reconcile = reconciler(stage.engine, on_leases=told.update, clock=clock)
    closed = await stage.worker(queues=["default", "other"])
    await stage.worker(queues=["served"])
    await stage.stores.workers.close_worker(closed, reason="reaped before")
    await reconcile.run_once()
    assert told == {"default", "other"}


async def test_a_pause_flag_that_the_ledger_knows_nothing_of_goes(
    stage: Stage, reconcile: Reconcile
) -> None:
    flags = stage.stores.pause_flags
    await stage.stores.queues.pause("kept", paused=True)
    await flags.set_many(["kept", "stray"], paused=True)
    await reconcile.run_once()
    assert await flags.read_many(["kept", "stray"]) == {"kept": True, "stray": False}


async def test_a_restarted_redis_is_noticed_though_its_epoch_is_the_old_one(
    config: Config, own_valkey: ValkeyServer, clock: FakeClock
) -> None:
    async with on_valkey(config, own_valkey) as stage:
        told: list[str] = []
        reconcile = reconciler(stage.engine, on_loss=told.append, clock=clock)
        await stage.submit(2)
        await reconcile.run_once()
        own_valkey.stop()
        own_valkey.start()
        # the event loop has stood still, and has not seen yet that its connection is closed
        await asyncio.sleep(0.1)
        await later(reconcile, clock)
        assert told == ["the server of dispatch is another one"]
        own_valkey.kill()
        with pytest.raises(ServerUnreachable):
            await later(reconcile, clock)
        lost = await stage.submit(1, push=False, quiet=False)
        own_valkey.start()
        with recorded() as events:
            await later(reconcile, clock)
        assert len(told) == 2
        assert [fields["task_ids"] for fields in named(events, "task.redispatched")] == [lost]


async def test_keys_of_another_type_keep_no_queue_waiting(
    stage: Stage, reconcile: Reconcile, clock: FakeClock
) -> None:
    broken = await stage.submit(1, queue="broken", push=False)
    ids = await stage.submit(1, push=False)
    await stage.redis.set(KEYS.ready("broken", Lane.NORMAL), "not a list")
    await stage.redis.rpush(KEYS.epoch("broken"), "not a string")
    await later(reconcile, clock)
    assert await stage.lane() == ids
    assert await stage.lane(queue="broken") == broken


@pytest.mark.parametrize("paused", [False, True])
async def test_after_a_full_redis_everything_is_swept(
    config: Config,
    own_valkey: ValkeyServer,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    paused: bool,
) -> None:
    """It answers every read, and accepts no write. By the time it does, the submitted tasks are no
    longer new, and the slow walk is far from it."""
    monkeypatch.setattr(ledger_scan, "CHUNK", 3)
    async with on_valkey(config, own_valkey) as stage:
        reconcile = reconciler(stage.engine, clock=clock)
        monkeypatch.setattr(reconcile, "_budget", 0.0)  # one chunk of each walk in a pass
        before = await stage.submit(30)
        await reconcile.run_once()
        reconcile._recent_scan.cursor = reconcile._slow_scan.cursor = None
        lost = await stage.submit(3, push=False)
        await stage.stores.queues.pause("default", paused=paused)
        monkeypatch.setattr(reconcile._recent_scan, "_begin", lambda: before[-1])
        await stage.redis.config_set("maxmemory", 1)
        with pytest.raises(ServerUnreachable, match="maxmemory"):
            await later(reconcile, clock, seconds=3.0)
        monkeypatch.setattr(reconcile._recent_scan, "_begin", lambda: first_recent_id(-60.0))
        reconcile._recent_scan.cursor = reconcile._slow_scan.cursor = None
        await stage.redis.config_set("maxmemory", 0)
        await later(reconcile, clock)
        assert await stage.lane() == [*before, *lost]


async def test_backlog_of_a_full_lane_is_checked_with_pauses(
    stage: Stage, reconcile: Reconcile, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await reconcile.run_once()
    await stage.submit(1, push=False)
    began: list[float] = []
    monkeypatch.setattr(reconcile, "full_scan_soon", lambda: began.append(clock.now))

    async def breaks(*args: Any, **kwargs: Any) -> list[str]:
        raise ServerUnreachable("reset")

    monkeypatch.setattr(stage.stores.dispatcher, "push", breaks)
    found = clock.now + 2.0
    for _ in range(35):
        with suppress(ServerUnreachable):
            await later(reconcile, clock)
    assert began == [found + 2.0, found + 62.0]


async def test_a_ledger_of_many_chunks_is_walked_to_its_end(
    stage: Stage, reconcile: Reconcile, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_scan, "CHUNK", 3)
    ids = await stage.submit(20, push=False)
    await reconcile.run_once()
    assert sorted(await stage.lane()) == ids


async def test_a_walk_goes_back_to_what_it_could_not_deliver(
    stage: Stage, reconcile: Reconcile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_scan, "CHUNK", 3)
    ids = await stage.submit(10, push=False)
    one = ledger_scan.LedgerScan(stage.stores.maintenance)

    async def away(*args: Any, **kwargs: Any) -> Any:
        raise ServerUnreachable("cut")

    with monkeypatch.context() as patch:
        patch.setattr(stage.stores.dispatcher, "push", away)
        patch.setattr(stage.stores.workers, "find_open", away)
        with pytest.raises(ServerUnreachable):
            await reconcile._scan(one, seconds=1, quiet_seconds=0)
    await reconcile._scan(one, seconds=1, quiet_seconds=0)
    assert await stage.lane() == ids


async def test_the_lists_are_read_from_the_tail_so_that_taking_from_the_head_hides_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_lists, "PAGE", 2)
    ids = await stage.submit(9)
    seen: list[str] = []
    async for page in stage.stores.lists._pages(KEYS.ready("default", Lane.NORMAL)):
        seen += [value.decode() for value in page]
        await stage.redis.lpop(KEYS.ready("default", Lane.NORMAL))
        await stage.redis.rpush(KEYS.ready("default", Lane.NORMAL), "new")
    left = set(await stage.lane()) - {"new"}
    assert left
    assert left <= set(seen)
    assert await stage.stores.lists.waiting("default", among=left | {ids[0]}) == left


def test_the_lowest_id_of_a_time_is_below_every_id_made_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("time.time_ns", lambda: 1_700_000_000_123_000_000)
    monkeypatch.setattr("time.time", lambda: 1_700_000_000.123)
    made = [new_task_id() for _ in range(100)]
    assert first_id_at(1_700_000_000.122) < first_recent_id(0) < min(made)
    assert first_id_at(1_700_000_000.124) > max(made)
