"""Every due task is delivered once, and none before its time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from leaseq.config import Config
from leaseq.dispatch.queue_lists import QueueLane
from leaseq.embedded import ValkeyServer
from leaseq.errors import ServerUnreachable
from leaseq.ledger.due_tasks import Listed, Promoted
from leaseq.model import Lane, Priority, State
from leaseq.observability.telemetry import recorded
from leaseq.operations.open_engine import open_engine
from leaseq_reaper.duties import due_positions, promote
from leaseq_reaper.duties.promote import PASS_SECONDS, Promote
from leaseq_reaper.duties.refill import Refill
from leaseq_reaper.duty_runner import IDLE_PASSES
from support.dispatch import KEYS
from support.ledger import RETENTION, submission
from support.proxy import READY_FOR_QUERY, ProxyTo
from support.reaper import WINDOW, FakeClock, Stage, named


async def due(
    stage: Stage, count: int, *, queue: str = "default", priority: Priority = Priority.NORMAL
) -> list[str]:
    """So many SCHEDULED tasks that are due."""
    batch = [submission(queue=queue, priority=priority, delay_seconds=60.0) for _ in range(count)]
    await stage.stores.tasks.submit(batch, retention_seconds=RETENTION)
    ids = sorted(s.task_id for s in batch)
    await stage.plain.execute(
        "update leaseq.scheduled set run_at = now() where task_id = any(%s::uuid[])", [ids]
    )
    return ids


async def test_due_task_is_delivered_in_its_lane_and_others_wait(stage: Stage) -> None:
    normal = await due(stage, 3)
    high = await due(stage, 1, priority=Priority.HIGH)
    later = await stage.submit(delay_seconds=60.0, push=False, quiet=False)
    with recorded() as events:
        await Promote(stage.engine.stores).run_once()
    assert await stage.lane() == normal
    assert await stage.lane(Lane.HIGH) == high
    assert (await stage.task(later[0])).state is State.SCHEDULED
    assert {fields["task_id"] for fields in named(events, "task.promoted")} == {*normal, *high}


async def test_a_pass_goes_on_while_full_batches_come_and_stops_some_time(
    stage: Stage, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    push = stage.stores.dispatcher.push

    async def slowly(*args: Any, **kwargs: Any) -> list[str]:
        clock.now += 0.6 * PASS_SECONDS
        return await push(*args, **kwargs)

    monkeypatch.setattr(promote, "BATCH", 500)
    monkeypatch.setattr(stage.stores.dispatcher, "push", slowly)
    ids = await due(stage, 1100)
    duty = Promote(stage.engine.stores, clock=clock)
    await duty.run_once()
    assert len(await stage.lane()) == 1000
    await duty.run_once()
    assert sorted(await stage.lane()) == ids


@pytest.mark.parametrize("done", [True, False], ids=["carried out", "never arrived"])
async def test_a_promotion_whose_answer_is_lost_is_delivered_in_the_next_pass(
    config: Config, stage: Stage, proxy_to: ProxyTo, monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    """After every failover: without this, they wait for the walk through the whole ledger."""
    assert config.postgres_url is not None
    proxy = await proxy_to(config.postgres_url)
    async with open_engine(
        msgspec.structs.replace(config, postgres_url=proxy.url), pool_size=1
    ) as engine:
        duty = Promote(engine.stores)
        await due(stage, 1, queue="another")
        # its statements are prepared now, so that the next exchange is the promotion itself
        await duty.run_once()
        ids = await due(stage, 5)
        list_due = engine.stores.due_tasks.list_due

        async def armed(places: Any) -> Any:
            listed = await list_due(places)
            needle = ids[0].encode()
            _ = (
                proxy.lose_reply(needle, until=READY_FOR_QUERY)
                if done
                else proxy.lose_command(needle)
            )
            return listed

        monkeypatch.setattr(engine.stores.due_tasks, "list_due", armed)
        with pytest.raises(ServerUnreachable):
            await duty.run_once()
        monkeypatch.undo()
        assert await stage.lane() == []
        assert ((await stage.task(ids[0])).state is State.PENDING) == done
        await duty.run_once()
    assert sorted(await stage.lane()) == ids


async def test_one_queue_has_room_and_another_has_not(narrow: Stage) -> None:
    """A million that are due in one queue must neither fill Redis nor hold up the others."""
    crowd = await due(narrow, 5 * WINDOW, queue="crowded")
    high = await due(narrow, 2, queue="crowded", priority=Priority.HIGH)
    others = await due(narrow, 3)
    duty = Promote(narrow.engine.stores)
    for _ in range(2):
        await duty.run_once()
    # A push to the high lane may have left a token on the doorbell.
    assert len([value for value in await narrow.lane(queue="crowded") if value]) == WINDOW
    assert sorted(await narrow.lane(Lane.HIGH, queue="crowded")) == high
    assert sorted(await narrow.lane()) == others
    states = await narrow.stores.tasks.find_states(crowd)
    assert sum(state is State.PENDING for state in states.values()) == WINDOW
    # As the lane gives room, the rest follows, the longest due first, and no backlog has begun.
    seen: list[str] = []
    while len(seen) < len(crowd):
        taken = await narrow.redis.lpop(KEYS.ready("crowded", Lane.NORMAL), 4)
        seen += [value.decode() for value in taken if value]
        await duty.run_once()
        assert len([value for value in await narrow.lane(queue="crowded") if value]) <= WINDOW
    assert sorted(seen) == crowd
    assert await narrow.stores.lane_backlogs.read_many(["crowded", "default"]) == {}


async def test_a_lane_that_is_being_drained_gets_one_small_share_in_a_pass(
    narrow: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that takes one delivery after the other always leaves a little room."""
    await due(narrow, 5 * WINDOW)
    lengths, take = narrow.stores.lists.lengths, narrow.stores.due_tasks.promote
    batches: list[int] = []

    async def drained(lanes: Sequence[QueueLane]) -> dict[QueueLane, int]:
        await narrow.redis.lpop(KEYS.ready("default", Lane.NORMAL))
        return await lengths(lanes)

    async def counted(listed: Sequence[Listed]) -> list[Promoted]:
        batches.append(sum(one.count for one in listed))
        return await take(listed)

    monkeypatch.setattr(narrow.stores.lists, "lengths", drained)
    monkeypatch.setattr(narrow.stores.due_tasks, "promote", counted)
    duty = Promote(narrow.engine.stores)
    for _ in range(3):
        await duty.run_once()
    assert batches == [WINDOW, 2, 2]


async def test_promoted_task_goes_before_younger_backlog_and_after_older(
    narrow: Stage,
) -> None:
    older = await due(narrow, 2)
    backlog = (await narrow.submit(WINDOW + 3))[WINDOW:]
    younger = await due(narrow, 2)
    await narrow.redis.ltrim(KEYS.ready("default", Lane.NORMAL), 0, 3)
    await Promote(narrow.engine.stores).run_once()
    assert (await narrow.lane())[4:] == older
    assert await narrow.backlog() == backlog[0]
    for _ in range(2):
        await Refill(narrow.engine.stores).run_once()
    await narrow.redis.ltrim(KEYS.ready("default", Lane.NORMAL), 6, -1)
    await Refill(narrow.engine.stores).run_once()
    assert await narrow.lane() == backlog + younger


async def test_every_queue_has_its_share_in_one_pass_however_slow_the_stores_are(
    stage: Stage, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Queue names are free: with a time limit for the pass, the first ones used it up and the
    others waited permanently."""
    queues = [f"q{n}" for n in range(120)]
    for queue in queues:
        await due(stage, 2, queue=queue)
    fetch = stage.stores.due_tasks.promote

    async def slowly(*args: Any, **kwargs: Any) -> Any:
        clock.now += 2 * PASS_SECONDS
        return await fetch(*args, **kwargs)

    monkeypatch.setattr(stage.stores.due_tasks, "promote", slowly)
    await Promote(stage.engine.stores, clock=clock).run_once()
    lengths = await stage.stores.lists.lengths([(queue, Lane.NORMAL) for queue in queues])
    assert set(lengths.values()) == {2}


async def test_row_visible_behind_the_position_of_a_pass_is_promoted(
    stage: Stage, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first look is slow, as beside a long transaction: the next ones begin where the
    promotions stood a while ago."""
    find_due = stage.stores.due_tasks.find_due
    looks: list[int] = []

    async def slowly(known: Any = ()) -> Any:
        clock.now += 0.0 if looks else 1.0
        looks.append(len(known))
        return await find_due(known)

    monkeypatch.setattr(stage.stores.due_tasks, "find_due", slowly)
    duty = Promote(stage.engine.stores, clock=clock)
    ids = await due(stage, 3)
    for _ in range(8):
        await duty.run_once()
        clock.now += 1.0
    # As of a caller's own transaction that took a moment, and of another that took an hour.
    ids += await due(stage, 1)
    await duty.run_once()
    assert looks[0] == 0
    assert looks[-1] == 1
    assert sorted(await stage.lane()) == sorted(ids)
    (late,) = await due(stage, 1)
    await stage.plain.execute("update leaseq.scheduled set run_at = now() - interval '1 hour'")
    await duty.run_once()
    assert late not in await stage.lane()
    clock.now += due_positions.WHOLE_REST
    await duty.run_once()
    assert late in await stage.lane()


async def test_two_at_once_deliver_each_task_once(stage: Stage) -> None:
    ids = await due(stage, 2000)
    both = [Promote(stage.engine.stores) for _ in range(2)]
    # a pass has a limited time, which is short on a busy machine
    while len(await stage.lane()) < len(ids):
        await asyncio.gather(*(duty.run_once() for duty in both))
    assert sorted(await stage.lane()) == ids


async def test_without_redis_one_batch_is_promoted_and_delivered_when_it_is_back(
    config: Config, own_valkey: ValkeyServer, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promote, "BATCH", 5)
    ids = await due(stage, 15)
    async with open_engine(msgspec.structs.replace(config, redis_url=own_valkey.url)) as engine:
        duty = Promote(engine.stores)
        take = engine.stores.due_tasks.promote

        async def take_and_lose_redis(*args: Any, **kwargs: Any) -> Any:
            own_valkey.kill()
            return await take(*args, **kwargs)

        monkeypatch.setattr(engine.stores.due_tasks, "promote", take_and_lose_redis)
        for _ in range(3):
            with pytest.raises(ServerUnreachable, match="Redis"):
                await duty.run_once()
        states = await stage.stores.tasks.find_states(ids)
        assert sum(state is State.PENDING for state in states.values()) == 5
        monkeypatch.setattr(engine.stores.due_tasks, "promote", take)
        own_valkey.start()
        await duty.run_once()
        assert await engine.stores.lists.waiting("default", among=set(ids)) == set(ids)


async def test_with_a_full_redis_one_batch_is_promoted_and_delivered_when_it_has_room(
    config: Config, own_valkey: ValkeyServer, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers every read, and accepts no write."""
    monkeypatch.setattr(promote, "BATCH", 5)
    ids = await due(stage, 15)
    async with (
        open_engine(msgspec.structs.replace(config, redis_url=own_valkey.url)) as engine,
        Redis.from_url(own_valkey.url) as redis,
    ):
        duty = Promote(engine.stores)
        await redis.config_set("maxmemory", 1)
        for _ in range(3):
            with pytest.raises(ServerUnreachable, match="maxmemory"):
                await duty.run_once()
        states = await stage.stores.tasks.find_states(ids)
        assert sum(state is State.PENDING for state in states.values()) == 5
        await redis.config_set("maxmemory", 0)
        await duty.run_once()
        assert await engine.stores.lists.waiting("default", among=set(ids)) == set(ids)


async def test_promoted_task_with_a_broken_push_is_delivered_in_the_next_pass(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, others = await due(stage, 3), await due(stage, 1, queue="other")
    duty = Promote(stage.engine.stores)
    push = stage.stores.dispatcher.push

    async def breaks(queue: str, *args: Any, **kwargs: Any) -> list[str]:
        if queue == "default":
            raise ServerUnreachable("reset")
        return await push(queue, *args, **kwargs)

    monkeypatch.setattr(stage.stores.dispatcher, "push", breaks)
    with pytest.raises(ServerUnreachable, match="reset"):
        await duty.run_once()
    assert (await stage.lane(), await stage.lane(queue="other")) == ([], others)
    monkeypatch.setattr(stage.stores.dispatcher, "push", push)
    await duty.run_once()
    assert await stage.lane() == ids


async def test_a_lane_of_another_type_keeps_no_queue_waiting(stage: Stage) -> None:
    broken, ids = await due(stage, 1, queue="broken"), await due(stage, 1)
    await stage.redis.set(KEYS.ready("broken", Lane.NORMAL), "not a list")
    await Promote(stage.engine.stores).run_once()
    assert await stage.lane() == ids
    assert await stage.lane(queue="broken") == broken


async def test_where_nothing_is_due_looks_are_rarer_until_something_is(stage: Stage) -> None:
    duty = Promote(stage.engine.stores)
    for _ in range(IDLE_PASSES):
        assert duty.idle.factor() == 1
        await duty.run_once()
    assert duty.idle.factor() == promote.QUIET_FACTOR
    await due(stage, 1)
    await duty.run_once()
    assert duty.idle.factor() == 1
