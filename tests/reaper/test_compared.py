"""Idle lanes are compared once a minute, and again when they change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from leaseq.model import Lane
from leaseq.observability.telemetry import recorded
from leaseq_reaper.reconcile import known_deliveries
from leaseq_reaper.reconcile.reconcile import Reconcile
from support.dispatch import KEYS, ids
from support.reaper import WINDOW, FakeClock, Stage, named, reconciler

NORMAL = KEYS.ready("default", Lane.NORMAL)
PASS_SECONDS = 2.0
QUEUES = [f"q{number}" for number in range(40)]

Counted = Callable[[], int]


@pytest.fixture
def told(narrow: Stage, monkeypatch: pytest.MonkeyPatch) -> Counted:
    """How many waiting tasks the ledger has returned to the walks since the last call."""
    count, sweep = 0, narrow.stores.maintenance.scan

    async def keep(**said: Any) -> Any:
        nonlocal count
        chunk = await sweep(**said)
        count += len(chunk.waiting)
        return chunk

    def counted() -> int:
        nonlocal count
        before, count = count, 0
        return before

    monkeypatch.setattr(narrow.stores.maintenance, "scan", keep)
    return counted


@pytest.fixture
async def reconcile(narrow: Stage, clock: FakeClock) -> Reconcile:
    return reconciler(narrow.engine, clock=clock)


async def walk(reconcile: Reconcile, clock: FakeClock, *, seconds: float) -> list[str]:
    """Passes for so long; the tasks that they delivered again, in order."""
    with recorded() as events:
        for _ in range(round(seconds / PASS_SECONDS)):
            clock.now += PASS_SECONDS
            await reconcile.run_once()
    return [
        task_id for fields in named(events, "task.redispatched") for task_id in fields["task_ids"]
    ]


async def settled(
    narrow: Stage, reconcile: Reconcile, clock: FakeClock, told: Counted
) -> Sequence[str]:
    """A full lane with a backlog whose tasks the ledger no longer returns to the walks."""
    task_ids = await narrow.submit(3 * WINDOW)
    await walk(reconcile, clock, seconds=10.0)
    told()
    await walk(reconcile, clock, seconds=2 * PASS_SECONDS)
    assert told() == 0
    return task_ids


async def test_a_lane_that_stands_still_is_compared_once_a_minute(
    narrow: Stage, reconcile: Reconcile, clock: FakeClock, told: Counted
) -> None:
    await narrow.submit(3 * WINDOW)
    await walk(reconcile, clock, seconds=10.0)
    assert told() >= WINDOW
    assert await walk(reconcile, clock, seconds=2 * known_deliveries.COMPARED_SECONDS) == []
    # The walk over all of the ledger meets them, and the one over its last seconds.
    assert 2 * WINDOW <= told() <= 8 * WINDOW


async def test_a_delivery_that_vanishes_from_a_lane_that_stands_still_comes_back(
    narrow: Stage, reconcile: Reconcile, clock: FakeClock, told: Counted
) -> None:
    task_ids = await settled(narrow, reconcile, clock, told)
    await narrow.redis.lrem(NORMAL, 1, task_ids[4])
    assert await walk(reconcile, clock, seconds=known_deliveries.LOOK_SECONDS + PASS_SECONDS) == [
        task_ids[4]
    ]


async def test_a_delivery_in_whose_place_a_push_has_come_comes_back(
    narrow: Stage, reconcile: Reconcile, clock: FakeClock, told: Counted
) -> None:
    """The lane is as long as before: a failover that no identity shows has lost a push, and the
    next one arrives."""
    task_ids = await settled(narrow, reconcile, clock, told)
    await narrow.redis.lrem(NORMAL, 1, task_ids[4])
    await narrow.redis.rpush(NORMAL, *ids(1))
    assert await walk(reconcile, clock, seconds=known_deliveries.LOOK_SECONDS + PASS_SECONDS) == [
        task_ids[4]
    ]


async def test_a_delivery_in_whose_place_another_is_handed_back_comes_back_within_a_minute(
    narrow: Stage, reconcile: Reconcile, clock: FakeClock, told: Counted
) -> None:
    task_ids = await settled(narrow, reconcile, clock, told)
    await narrow.redis.lrem(NORMAL, 1, task_ids[4])
    await narrow.redis.lpush(NORMAL, *ids(1))
    assert await walk(
        reconcile, clock, seconds=known_deliveries.COMPARED_SECONDS + PASS_SECONDS
    ) == [task_ids[4]]


async def test_a_task_that_has_run_since_is_compared_again_though_its_lane_looks_the_same(
    narrow: Stage, reconcile: Reconcile, clock: FakeClock, told: Counted
) -> None:
    task_ids = await settled(narrow, reconcile, clock, told)
    await narrow.redis.lpop(NORMAL)
    await narrow.redis.lpush(NORMAL, *ids(1))
    await narrow.plain.execute(
        "update leaseq.tasks set attempt = attempt + 1 where id = %s", [task_ids[0]]
    )
    assert await walk(reconcile, clock, seconds=PASS_SECONDS) == [task_ids[0]]


async def test_no_comparison_counts_after_a_loss_of_data(
    narrow: Stage, reconcile: Reconcile, clock: FakeClock, told: Counted
) -> None:
    task_ids = await settled(narrow, reconcile, clock, told)
    await narrow.redis.lrem(NORMAL, 1, task_ids[4])
    await narrow.redis.lpush(NORMAL, *ids(1))
    await narrow.redis.delete(KEYS.data())
    assert await walk(reconcile, clock, seconds=PASS_SECONDS) == [task_ids[4]]


async def test_memory_of_the_reconciler_is_bounded(
    narrow: Stage,
    reconcile: Reconcile,
    clock: FakeClock,
    told: Counted,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(known_deliveries, "MOST", WINDOW // 2)
    task_ids = await narrow.submit(3 * WINDOW)
    await walk(reconcile, clock, seconds=10.0)
    assert len(reconcile._stranded._known._tasks) == WINDOW // 2
    await narrow.redis.lrem(NORMAL, 1, task_ids[WINDOW - 1])
    assert await walk(reconcile, clock, seconds=PASS_SECONDS) == [task_ids[WINDOW - 1]]


async def test_a_lane_longer_than_a_page_is_remembered(
    narrow: Stage,
    reconcile: Reconcile,
    clock: FakeClock,
    told: Counted,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("leaseq.dispatch.queue_lists.PAGE", WINDOW // 3)
    task_ids = await settled(narrow, reconcile, clock, told)
    await narrow.redis.lrem(NORMAL, 1, task_ids[4])
    assert await walk(reconcile, clock, seconds=known_deliveries.LOOK_SECONDS + PASS_SECONDS) == [
        task_ids[4]
    ]


@pytest.mark.parametrize("each", [1, 3 * WINDOW])
async def test_commands_of_a_pass_do_not_grow_with_the_lanes(
    narrow: Stage, reconcile: Reconcile, clock: FakeClock, replies: Counted, each: int
) -> None:
    """Tasks of queues that no worker serves, and lanes that are full. Scans of the key space have a
    time of their own."""
    for queue in QUEUES:
        await narrow.submit(each, queue=queue)
    reconcile._dispatch_scan._round_at = float("inf")
    replies()
    await walk(reconcile, clock, seconds=PASS_SECONDS)
    assert replies() <= 2 * len(QUEUES)
    await walk(reconcile, clock, seconds=10 * PASS_SECONDS)
    assert replies() <= 10 * 10
