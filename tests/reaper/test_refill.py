"""Waiting tasks come into their lane once and in order, under any fault."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from msgspec.structs import replace

from leaseq import Leaseq
from leaseq.codec import LAST_ID, next_id
from leaseq.config import Config
from leaseq.dispatch.backlog import Backlog
from leaseq.errors import ServerUnreachable
from leaseq.ledger import backlogs
from leaseq.model import DEFAULT_TENANT, Lane, Priority, State
from leaseq.observability.telemetry import recorded
from leaseq.operations.open_engine import open_engine
from leaseq_reaper.duties import refill
from leaseq_reaper.duties.refill import Refill
from leaseq_reaper.sidecar import run
from support.dispatch import KEYS
from support.ledger import submission
from support.reaper import WINDOW, FakeClock, Stage, named, names, reconciler
from support.worker import until, working

NORMAL = KEYS.ready("default", Lane.NORMAL)


async def take(stage: Stage, count: int, *, lane: Lane = Lane.NORMAL) -> list[str]:
    """As a worker does, which takes from the head."""
    return [
        value.decode() for value in await stage.redis.lpop(KEYS.ready("default", lane), count) or []
    ]


async def drained(stage: Stage, duty: Refill, *, size: int = 6) -> list[str]:
    """Everything that comes through the lane, in its order, while the backlog is brought in."""
    seen: list[str] = []
    for _ in range(200):
        taken = await take(stage, size)
        seen += taken
        assert len(await stage.lane()) <= WINDOW
        await duty.run_once()
        if not taken and not await stage.lane():
            return seen
    raise AssertionError("it comes to no end")


async def test_a_backlog_comes_through_a_lane_that_never_holds_more_than_its_window(
    narrow: Stage,
) -> None:
    ids = await narrow.submit(5 * WINDOW)
    assert await narrow.lane() == ids[:WINDOW]
    assert await narrow.backlog() == ids[WINDOW]
    with recorded() as events:
        assert await drained(narrow, Refill(narrow.engine.stores)) == ids
    assert not await narrow.redis.exists(KEYS.backlog("default"))
    assert sum(fields["count"] for fields in named(events, "delivery.refilled")) == 4 * WINDOW
    assert names(events).count("backlog.ended") == 1


async def test_lane_is_read_once_for_an_untouched_backlog(
    narrow: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, ahead = 0, narrow.stores.lists.ahead

    async def count(*args: Any, **kwargs: Any) -> set[str]:
        nonlocal looks
        looks += 1
        return await ahead(*args, **kwargs)

    ids = await narrow.submit(8 * WINDOW)
    monkeypatch.setattr(narrow.stores.lists, "ahead", count)
    assert await drained(narrow, Refill(narrow.engine.stores)) == ids
    assert 1 <= looks <= 2  # at its beginning, and for the end of it


async def test_rest_of_another_refill_is_read_again_without_growth(narrow: Stage) -> None:
    ids = await narrow.submit(8 * WINDOW)
    duties = [Refill(narrow.engine.stores), Refill(narrow.engine.stores)]
    seen: list[str] = []
    while len(seen) < len(ids):
        seen += await take(narrow, 6)
        await duties[0].run_once()
        duties.reverse()
        assert all(len(duty._known) <= 1 for duty in duties)
    assert seen == ids


async def test_a_lane_is_filled_when_it_is_half_empty(narrow: Stage) -> None:
    ids = await narrow.submit(3 * WINDOW)
    duty = Refill(narrow.engine.stores)
    await take(narrow, WINDOW // 2)
    await duty.run_once()
    assert len(await narrow.lane()) == WINDOW // 2
    await take(narrow, 1)
    await duty.run_once()
    assert await narrow.lane() == ids[WINDOW // 2 + 1 :][:WINDOW]


async def test_each_lane_has_a_backlog_of_its_own(narrow: Stage) -> None:
    await narrow.submit(2 * WINDOW)
    high = await narrow.submit(WINDOW + 3, priority=Priority.HIGH)
    later = await narrow.submit(2)
    assert await narrow.lane(Lane.HIGH) == high[:WINDOW]  # however much waits in the normal lane
    await take(narrow, WINDOW, lane=Lane.HIGH)
    await Refill(narrow.engine.stores).run_once()
    assert await narrow.lane(Lane.HIGH) == high[WINDOW:]
    assert await narrow.backlog(Lane.HIGH) is None
    assert not set(later) & set(await narrow.lane())


async def test_two_at_once_bring_everything_in_once(narrow: Stage) -> None:
    ids = await narrow.submit(4 * WINDOW)
    duties = [Refill(narrow.engine.stores) for _ in range(3)]
    seen: list[str] = []
    while len(seen) < len(ids):
        seen += await take(narrow, 7)
        await asyncio.gather(*(duty.run_once() for duty in duties))
    assert seen == ids
    assert await narrow.backlog() is None


# The possible events of a moment: a task is committed, and pushed.
Moment = Callable[[], Awaitable[object]]


def meanwhile(
    stage: Stage,
    monkeypatch: pytest.MonkeyPatch,
    *,
    before: Moment | None = None,
    after: Moment | None = None,
) -> None:
    """Something happens just before the next range is read, or just after."""
    read = stage.stores.backlogs.read_backlog

    async def read_backlog(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(stage.stores.backlogs, "read_backlog", read)
        if before is not None:
            await before()
        batch = await read(*args, **kwargs)
        if after is not None:
            await after()
        return batch

    monkeypatch.setattr(stage.stores.backlogs, "read_backlog", read_backlog)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_task_committed_while_the_last_batch_is_read_is_in_the_lane(
    narrow: Stage, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    ids = await narrow.submit(WINDOW + 3)
    late: list[str] = []

    async def commit_and_push() -> None:
        late.extend(await narrow.submit(2))

    await take(narrow, WINDOW)
    meanwhile(narrow, monkeypatch, **{when: commit_and_push})
    await Refill(narrow.engine.stores).run_once()
    assert sorted(await narrow.lane()) == ids[WINDOW:] + late
    assert await narrow.backlog() is None


@pytest.mark.parametrize("when", ["before", "after"])
async def test_task_committed_in_a_batch_while_it_is_read_is_in_the_lane(
    narrow: Stage, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """By a client whose clock is behind, or one that took its time between the id and the
    commit."""
    ids = await narrow.submit(4 * WINDOW)
    late = next_id(ids[WINDOW + 1])

    async def commit_and_push() -> None:
        await narrow.submit(1, task_id=late)

    await take(narrow, WINDOW)
    meanwhile(narrow, monkeypatch, **{when: commit_and_push})
    await Refill(narrow.engine.stores).run_once()
    assert (await narrow.lane()).count(late) == 1
    # And no task was accepted behind the range.
    assert set(await narrow.lane()) <= {late, *ids[WINDOW : 2 * WINDOW]}
    assert sorted(await drained(narrow, Refill(narrow.engine.stores))) == sorted(
        [late, *ids[WINDOW:]]
    )


async def test_new_announcement_is_told_apart_from_an_earlier_one(
    narrow: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refill that stood still has read the ledger too early for the range that is open now."""
    ids = await narrow.submit(WINDOW + 3)
    await take(narrow, WINDOW)

    async def withdraw_and_announce() -> None:
        # the last of them finds no room, and ends the announcement
        crowd = await narrow.submit(2 * WINDOW + 1)
        assert await narrow.backlog() == ids[WINDOW]
        await take(narrow, WINDOW * 2)
        seen = Backlog.of(ids[WINDOW])
        assert await narrow.stores.dispatcher.refill(
            "default", [], lane=Lane.NORMAL, seen=seen, left=seen.announce(LAST_ID)
        )
        ids.append(crowd[-1])

    meanwhile(narrow, monkeypatch, after=withdraw_and_announce)
    await Refill(narrow.engine.stores).run_once()
    assert await narrow.lane() == []
    assert await narrow.backlog() == ids[WINDOW]
    assert set(ids[WINDOW:]) <= set(await drained(narrow, Refill(narrow.engine.stores)))


@pytest.mark.parametrize("step", ["refill.announced", "refill.read", "refill.pushed"])
async def test_one_that_dies_is_continued_by_another(
    narrow: Stage, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(refill, "SCRIPT_BATCH", 3)
    ids = await narrow.submit(3 * WINDOW)
    seen = await take(narrow, WINDOW)

    def die(point: str) -> None:
        if point == step:
            raise RuntimeError("it died")

    with monkeypatch.context() as patch:
        patch.setattr(refill, "reach", die)
        with pytest.raises(RuntimeError):
            await Refill(narrow.engine.stores).run_once()
    ids += await narrow.submit(2)  # while no pass runs; behind the announced range
    assert seen + await drained(narrow, Refill(narrow.engine.stores)) == ids


async def test_push_accepted_under_an_announcement_is_not_repeated(narrow: Stage) -> None:
    ids = await narrow.submit(WINDOW + 3)
    await take(narrow, WINDOW)
    seen = Backlog.of(ids[WINDOW])
    await narrow.stores.dispatcher.refill(
        "default", [], lane=Lane.NORMAL, seen=seen, left=seen.announce(LAST_ID)
    )
    direct = await narrow.submit(2)
    assert await narrow.lane() == direct
    await Refill(narrow.engine.stores).run_once()
    assert await narrow.lane() == direct + ids[WINDOW:]


async def test_refill_leaves_out_cancelled_suspect_and_foreign_tasks(narrow: Stage) -> None:
    ids = await narrow.submit(2 * WINDOW)
    await narrow.submit(3, queue="another", push=False)
    await narrow.stores.tasks.cancel(ids[WINDOW : WINDOW + 3], tenant="default")
    await narrow.plain.execute(
        "update leaseq.tasks set loss_count = 2 where id = %s", [ids[WINDOW + 3]]
    )
    await take(narrow, WINDOW)
    await Refill(narrow.engine.stores).run_once()
    assert await narrow.lane() == ids[WINDOW + 4 :]
    assert await narrow.backlog() is None


async def test_a_pass_goes_through_the_tasks_of_others_until_its_time_is_over(
    narrow: Stage, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await narrow.submit(WINDOW + 1)
    await narrow.submit(8 * WINDOW, queue="another", push=False)
    ids += await narrow.submit(3)
    await take(narrow, WINDOW)
    measure = narrow.stores.backlogs.find_boundary

    async def slowly(*args: Any, **given: Any) -> str | None:
        clock.now += 0.3 * refill.PASS_SECONDS
        return await measure(*args, **given)

    monkeypatch.setattr(refill, "LONGEST_RANGE", WINDOW)
    monkeypatch.setattr(refill, "SHORTEST_RANGE", WINDOW)

    monkeypatch.setattr(narrow.stores.backlogs, "find_boundary", slowly)
    duty = Refill(narrow.engine.stores, clock=clock)
    places = []
    while (place := await narrow.backlog()) is not None:
        places.append(place)
        await duty.run_once()
    assert await narrow.lane() == ids[WINDOW:]
    assert 2 <= len(places) <= 4  # four ranges fit into the time of one pass
    assert places == sorted(places)


async def test_the_reconciler_neither_pushes_nor_tells_of_a_backlog(
    narrow: Stage, clock: FakeClock
) -> None:
    ids = await narrow.submit(3 * WINDOW)
    await narrow.redis.lrem(NORMAL, 1, ids[4])  # this one is stranded
    reconcile = reconciler(narrow.engine, clock=clock)
    with recorded() as events:
        for _ in range(3):
            clock.now += 2.0
            await reconcile.run_once()
    assert [fields["task_ids"] for fields in named(events, "task.redispatched")] == [[ids[4]]]
    assert sorted(await narrow.lane()) == ids[:WINDOW]
    assert await narrow.backlog() == ids[WINDOW]


async def test_flushall_brings_back_a_lane_and_a_backlog_in_order(
    narrow: Stage, clock: FakeClock
) -> None:
    ids = await narrow.submit(6 * WINDOW)
    reconcile, duty = (
        reconciler(narrow.engine, clock=clock),
        Refill(narrow.engine.stores),
    )
    await reconcile.run_once()
    await narrow.redis.flushall()
    fresh = await narrow.submit(WINDOW + 1)  # goes in before the reconciler has noticed
    assert await narrow.lane() == fresh[:WINDOW]
    clock.now += 2.0
    await reconcile.run_once()
    assert await narrow.lane() == fresh[:WINDOW] + ids[:WINDOW]
    assert await narrow.backlog() == ids[WINDOW]
    seen = await take(narrow, 2 * WINDOW)
    seen += await drained(narrow, duty)
    assert sorted(set(seen)) == ids + fresh
    assert [task_id for task_id in seen if task_id in set(ids)] == ids


async def test_a_backlog_of_another_type_is_no_backlog(narrow: Stage) -> None:
    await narrow.submit(1, queue="broken")
    await narrow.redis.set(KEYS.backlog("broken"), "not a hash")
    await narrow.stores.lane_backlogs.add(["broken"])
    ids = await narrow.submit(WINDOW + 2)
    await take(narrow, WINDOW)
    duty = Refill(narrow.engine.stores)
    await duty.run_once()
    assert await narrow.lane() == ids[WINDOW:]
    assert not await narrow.redis.exists(KEYS.backlog("broken"))


async def test_foreign_backlog_value_counts_from_the_beginning(narrow: Stage) -> None:
    ids = await narrow.submit(3, push=False)
    await narrow.redis.hset(KEYS.backlog("default"), "normal", "whatever")
    await narrow.stores.lane_backlogs.add(["default"])
    await Refill(narrow.engine.stores).run_once()
    assert await narrow.lane() == ids
    assert not await narrow.redis.exists(KEYS.backlog("default"))


async def test_backlog_without_a_known_lane_is_found_by_the_scan(
    narrow: Stage, clock: FakeClock
) -> None:
    """Its author died between the push and the naming, or is of an older version."""
    ids = await narrow.submit(WINDOW + 3)
    await narrow.redis.delete(KEYS.backlogs())
    await take(narrow, WINDOW)
    duty = Refill(narrow.engine.stores)
    await duty.run_once()
    assert await narrow.lane() == []
    await reconciler(narrow.engine, clock=clock).run_once()
    await duty.run_once()
    assert set(ids) & set(await narrow.lane()), (
        "which ones is decided by their ids, made within one millisecond"
    )


async def test_every_lane_gets_a_range_in_each_pass_however_slow_the_stores_are(
    narrow: Stage, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four hundred backlogs shared half a second: each had less than a round trip, and none was
    filled."""
    queues = [f"q{n}" for n in range(40)]
    for queue in queues:
        await narrow.submit(2 * WINDOW, queue=queue)
        await narrow.redis.delete(KEYS.ready(queue, Lane.NORMAL))
    measure = narrow.stores.backlogs.find_boundary

    async def slowly(*args: Any, **given: Any) -> str | None:
        clock.now += 2 * refill.PASS_SECONDS
        return await measure(*args, **given)

    monkeypatch.setattr(narrow.stores.backlogs, "find_boundary", slowly)
    await Refill(narrow.engine.stores, clock=clock).run_once()
    lengths = await narrow.stores.lists.lengths([(queue, Lane.NORMAL) for queue in queues])
    assert set(lengths.values()) == {WINDOW}


@pytest.mark.parametrize("apart", [False, True], ids=["in turn", "one after the other"])
async def test_many_backlogs_come_in_once_and_in_order(
    narrow: Stage, monkeypatch: pytest.MonkeyPatch, apart: bool
) -> None:
    """They read the ledger together where they share a part of it, and each for itself where they
    do not."""
    monkeypatch.setattr(refill, "LONGEST_RANGE", WINDOW)
    monkeypatch.setattr(refill, "SHORTEST_RANGE", WINDOW)
    queues = [f"q{n}" for n in range(backlogs.MANY_LANES + 5)]
    submitted: dict[str, list[str]] = {queue: [] for queue in queues}
    for _ in range(1 if apart else 4 * WINDOW):
        for queue in queues:
            submitted[queue] += await narrow.submit(
                4 * WINDOW if apart else 1, queue=queue, quiet=False
            )
    seen: dict[str, list[str]] = {queue: [] for queue in queues}
    duty = Refill(narrow.engine.stores)
    for _ in range(100):
        for queue in queues:
            taken = await narrow.redis.lpop(KEYS.ready(queue, Lane.NORMAL), WINDOW) or []
            seen[queue] += [value.decode() for value in taken]
        with suppress(ServerUnreachable):  # a pass on a slow machine; the next one goes on
            await duty.run_once()
        if seen == submitted:
            break
    assert seen == submitted


async def test_five_windows_full_of_tasks_run_once_each(config: Config) -> None:
    """With a worker, a reaper, submissions by many, in three lanes; and no reconciler, which would
    find missed tasks."""
    # No supervisor renews the lease of this worker.
    config = replace(
        config, dispatch_window=WINDOW, reconcile_interval_seconds=3600, lease_seconds=600
    )
    app = Leaseq()
    ran: list[int] = []

    @app.task(name="count")
    async def count(number: int) -> None:
        ran.append(number)

    async with open_engine(config) as engine, working(config, app):
        stop = asyncio.Event()
        sidecar = asyncio.create_task(run(config, stop))
        batch = [
            submission(
                type="count", payload=b'{"number":%d}' % number, priority=Priority(number % 3 - 1)
            )
            for number in range(400)
        ]
        with recorded() as events:
            answers = await asyncio.gather(
                *(engine.submit_many(batch[start : start + 40]) for start in range(0, 400, 40))
            )
            assert not [
                answer for chunk in answers for answer in chunk if isinstance(answer, BaseException)
            ]
            for wanted in batch:
                await engine.for_tenant(DEFAULT_TENANT).wait(wanted.task_id, timeout=60)
        states = await engine.stores.tasks.find_states([wanted.task_id for wanted in batch])

        async def at_its_end() -> bool:
            return await engine.stores.lane_backlogs.read("default") == {}

        await until(at_its_end)
        stop.set()
        await sidecar
    assert set(states.values()) == {State.SUCCESS}
    assert sorted(ran) == list(range(400))
    assert {"backlog.began", "delivery.refilled", "backlog.ended"} <= set(names(events))
