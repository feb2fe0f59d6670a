"""Idle backlogs are read seldom, and noticed within a second."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from leaseq.model import Lane, Priority
from leaseq.observability.telemetry import recorded
from leaseq_reaper.duties import refill
from leaseq_reaper.duties.refill import Refill
from leaseq_reaper.duty_runner import IDLE_PASSES
from leaseq_reaper.reconcile import known_deliveries
from support.dispatch import KEYS
from support.reaper import WINDOW, FakeClock, Stage, named, reconciler

NORMAL = KEYS.ready("default", Lane.NORMAL)


async def take(stage: Stage, count: int, *, lane: Lane = Lane.NORMAL) -> None:
    """As a worker does, which takes from the head."""
    await stage.redis.lpop(KEYS.ready("default", lane), count)


async def test_the_walks_read_a_backlog_that_stands_still_less_often(
    narrow: Stage, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await narrow.submit(3 * WINDOW)
    reads, read = 0, narrow.stores.lane_backlogs.read_many

    async def count(queues: Any) -> Any:
        nonlocal reads
        reads += len(queues)
        return await read(queues)

    monkeypatch.setattr(narrow.stores.lane_backlogs, "read_many", count)
    reconcile = reconciler(narrow.engine, clock=clock)
    for _ in range(20):
        clock.now += 2.0
        await reconcile.run_once()
    assert 20 / 4 <= reads <= 20 / 2  # and not in every walk of every pass


async def test_a_lost_push_that_a_trusted_backlog_has_passed_is_found(
    narrow: Stage, clock: FakeClock
) -> None:
    ids = await narrow.submit(3 * WINDOW)
    reconcile, duty = (
        reconciler(narrow.engine, clock=clock),
        Refill(narrow.engine.stores),
    )
    for _ in range(10):
        clock.now += 2.0
        await reconcile.run_once()
    await take(narrow, WINDOW)
    await duty.run_once()
    await narrow.redis.lrem(NORMAL, 1, ids[WINDOW + 4])
    with recorded() as events:
        for _ in range(4):
            clock.now += 2.0
            await reconcile.run_once()
    found = {
        task_id for fields in named(events, "task.redispatched") for task_id in fields["task_ids"]
    }
    assert ids[WINDOW + 4] in found


async def test_no_backlog_is_trusted_across_a_loss_of_data(narrow: Stage, clock: FakeClock) -> None:
    ids = await narrow.submit(3 * WINDOW)
    reconcile = reconciler(narrow.engine, clock=clock)
    for _ in range(10):
        clock.now += 2.0
        await reconcile.run_once()
    await narrow.redis.flushall()
    await reconcile.run_once()
    assert await narrow.lane() == ids[: 2 * WINDOW]  # redeliveries may take twice the window
    assert await narrow.backlog() == ids[2 * WINDOW]


async def test_without_backlogs_looks_are_rarer(narrow: Stage) -> None:
    duty = Refill(narrow.engine.stores)
    for _ in range(IDLE_PASSES):
        assert duty.idle.factor() == 1
        await duty.run_once()
    assert duty.idle.factor() == refill.QUIET_FACTOR
    await narrow.submit(2 * WINDOW)
    await duty.run_once()
    assert duty.idle.factor() == 1


async def test_queues_whose_lanes_stay_full_are_asked_less_often(
    narrow: Stage, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await narrow.submit(2 * WINDOW)
    looks, ask = 0, narrow.stores.lists.lengths

    async def count(*args: Any) -> Any:
        nonlocal looks
        looks += len(args[0])
        return await ask(*args)

    monkeypatch.setattr(narrow.stores.lists, "lengths", count)
    duty = Refill(narrow.engine.stores, clock=clock)
    for _ in range(100):
        clock.now += 0.1
        await duty.run_once()
    assert 10 <= looks <= 20  # in ten seconds
    await take(narrow, WINDOW)
    clock.now += refill.IDLE_CAP_SECONDS
    await duty.run_once()
    assert len(await narrow.lane()) == WINDOW


async def test_the_backlogs_of_full_lanes_are_read_now_and_then_only(
    narrow: Stage, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is read once a second by the length of its lane; another lane of it may begin a backlog
    unnoticed by that."""
    ids = await narrow.submit(3 * WINDOW)
    reads, read = 0, narrow.stores.lane_backlogs.read_many

    async def count(queues: Any) -> Any:
        nonlocal reads
        reads += len(queues)
        return await read(queues)

    monkeypatch.setattr(narrow.stores.lane_backlogs, "read_many", count)
    duty = Refill(narrow.engine.stores, clock=clock)
    for _ in range(40):
        clock.now += refill.IDLE_CAP_SECONDS
        await duty.run_once()
    assert 1 <= reads <= 4
    await take(narrow, WINDOW)
    clock.now += refill.IDLE_CAP_SECONDS
    await duty.run_once()
    assert await narrow.lane() == ids[WINDOW : 2 * WINDOW]


async def test_a_backlog_that_begins_beside_a_full_lane_is_noticed_in_the_next_pass(
    narrow: Stage, clock: FakeClock
) -> None:
    await narrow.submit(3 * WINDOW)
    duty = Refill(narrow.engine.stores, clock=clock)
    for _ in range(12):
        clock.now += refill.IDLE_CAP_SECONDS
        await duty.run_once()
    high = await narrow.submit(2 * WINDOW, priority=Priority.HIGH)
    await take(narrow, WINDOW, lane=Lane.HIGH)
    clock.now += 0.1
    await duty.run_once()
    assert await narrow.lane(Lane.HIGH) == high[WINDOW:]


async def test_where_every_backlog_stands_still_passes_are_rarer_until_one_can_move(
    narrow: Stage, clock: FakeClock
) -> None:
    ids = await narrow.submit(3 * WINDOW)
    duty = Refill(narrow.engine.stores, clock=clock)
    for _ in range(IDLE_PASSES + 20):
        clock.now += 0.1
        await duty.run_once()
    assert duty.idle.factor() == refill.QUIET_FACTOR
    await take(narrow, WINDOW)
    waited = 0.0
    while not await narrow.lane():
        step = duty.idle.factor() * narrow.engine.config.promote_interval_seconds
        clock.now, waited = clock.now + step, waited + step
        await duty.run_once()
    assert await narrow.lane() == ids[WINDOW : 2 * WINDOW]
    assert waited <= 1.0
    assert duty.idle.factor() == 1


async def test_a_backlog_that_stands_still_costs_a_pass_a_second(
    narrow: Stage, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await narrow.submit(3 * WINDOW)
    looks, passes, ask = 0, 0, narrow.stores.lists.lengths

    async def count(*args: Any) -> Any:
        nonlocal looks
        looks += bool(args[0])
        return await ask(*args)

    monkeypatch.setattr(narrow.stores.lists, "lengths", count)
    duty = Refill(narrow.engine.stores, clock=clock)
    for _ in range(IDLE_PASSES + 20):
        clock.now += 0.1
        await duty.run_once()
    looks, end = 0, clock.now + 20.0
    while clock.now < end:
        clock.now += duty.idle.factor() * 0.1
        await duty.run_once()
        passes += 1
    assert looks >= 20
    assert passes == looks <= 25


async def test_the_ledger_leaves_out_what_lies_behind_a_backlog_that_stands_still(
    narrow: Stage, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await narrow.submit(5 * WINDOW)
    suspect, late = ids[2 * WINDOW], ids[3 * WINDOW]
    await narrow.plain.execute("update leaseq.tasks set loss_count = 2 where id = %s", [suspect])
    monkeypatch.setattr(known_deliveries, "MOST", 0)
    chunks, sweep = [], narrow.stores.maintenance.scan

    async def keep(**said: Any) -> Any:
        chunks.append(await sweep(**said))
        return chunks[-1]

    monkeypatch.setattr(narrow.stores.maintenance, "scan", keep)
    reconcile = reconciler(narrow.engine, clock=clock)
    await reconcile.run_once()
    assert late in {task.task_id for chunk in chunks for task in chunk.waiting}
    for _ in range(10):
        clock.now += 2.0
        chunks.clear()
        await reconcile.run_once()
        if late not in {task.task_id for chunk in chunks for task in chunk.waiting}:
            break
    assert {task.task_id for chunk in chunks for task in chunk.waiting} == {*ids[:WINDOW], suspect}


async def test_the_lengths_of_many_lanes_come_in_one_reply(
    narrow: Stage, replies: Callable[[], int]
) -> None:
    places = [(f"q{number}", Lane.NORMAL) for number in range(50)]
    for number in (3, 7):
        await narrow.redis.rpush(KEYS.ready(*places[number]), *(["x"] * number))
    await narrow.redis.set(KEYS.ready(*places[5]), "not a list")
    await narrow.stores.lists.lengths(places)
    replies()
    found = await narrow.stores.lists.lengths(places)
    assert replies() == 1
    assert found == dict.fromkeys(places, 0) | {places[3]: 3, places[7]: 7}
