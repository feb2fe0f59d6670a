"""Dispatch when Redis is full, hostile, gone, or answers into the void."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis

from leaseq.config import Config
from leaseq.connections.redis import open_blocking_redis, open_redis
from leaseq.dispatch.backlog import Backlog
from leaseq.dispatch.blocking_pull import BlockingPull
from leaseq.dispatch.deliveries import Destination, PullCode, Release, as_bytes
from leaseq.dispatch.dispatcher import Dispatcher
from leaseq.dispatch.parts import parts_over
from leaseq.errors import ServerUnreachable
from leaseq.model import Lane
from leaseq.observability.telemetry import recorded
from support.dispatch import KEYS, QUEUE, WORKER, begin, ids, in_hand, in_lane, leases_of
from support.proxy import ProxyTo


@pytest.fixture
async def full(valkey: Redis, dispatcher: Dispatcher) -> AsyncIterator[list[str]]:
    """A Redis that takes nothing more, with ten deliveries in it and a worker that has one of
    them."""
    await begin(dispatcher)
    pushed = ids(10)
    await dispatcher.push(QUEUE, pushed)
    await dispatcher.pull(QUEUE, worker_id=WORKER, limit=1)
    await leases_of(dispatcher).renew(
        QUEUE, [WORKER], lease_seconds=60
    )  # so that the server knows the script
    await valkey.config_set("maxmemory-policy", "noeviction")
    await valkey.config_set("maxmemory", "1mb")
    yield pushed
    await valkey.config_set("maxmemory", "0")


async def test_a_full_redis_refuses_pushes_and_still_drains(
    full: list[str], dispatcher: Dispatcher, valkey: Redis
) -> None:
    with pytest.raises(ServerUnreachable, match=r"(?i)oom|memory"):
        await dispatcher.push(QUEUE, ids(1))

    pulled = await dispatcher.pull(QUEUE, worker_id=WORKER, limit=4)
    assert pulled.task_ids == full[1:5]
    releases = [Release(full[0]), Release(full[1], Lane.HIGH), Release(full[2], Destination.PARKED)]
    assert await dispatcher.release(QUEUE, releases, worker_id=WORKER) == 3

    assert await in_hand(valkey) == full[3:5]
    assert await in_lane(valkey, Lane.HIGH) == full[1:2]
    assert await in_lane(valkey) == full[5:]


async def test_a_full_redis_lets_finished_ids_leave_around_those_that_run(
    full: list[str], dispatcher: Dispatcher, valkey: Redis
) -> None:
    await dispatcher.pull(QUEUE, worker_id=WORKER, limit=9)
    gone = [Release(task_id) for task_id in full[1:9]]
    assert await dispatcher.release(QUEUE, gone, worker_id=WORKER) == 8
    assert await in_hand(valkey) == [full[0], full[9]]


async def test_a_full_redis_begins_no_backlog_and_ends_one(full: list[str], valkey: Redis) -> None:
    """A delivery that is not in a lane must not be counted as waiting its turn either: then the
    reconciler has it."""
    narrow = Dispatcher(valkey, KEYS, window=10)
    with pytest.raises(ServerUnreachable, match=r"(?i)oom|memory"):
        await narrow.push(QUEUE, ids(2))
    assert await parts_over(valkey, KEYS).lane_backlogs.read(QUEUE) == {}

    await valkey.config_set("maxmemory", "0")
    await narrow.push(QUEUE, ids(2))
    backlog = (await parts_over(valkey, KEYS).lane_backlogs.read(QUEUE))[Lane.NORMAL]
    await valkey.config_set("maxmemory", "1mb")
    with pytest.raises(ServerUnreachable, match=r"(?i)oom|memory"):
        await narrow.refill(QUEUE, ids(1), lane=Lane.NORMAL, seen=backlog, left=None)
    assert await narrow.refill(QUEUE, [], lane=Lane.NORMAL, seen=backlog, left=None)
    assert not await valkey.exists(KEYS.backlog(QUEUE))


async def test_a_full_redis_still_renews_leases(full: list[str], dispatcher: Dispatcher) -> None:
    """Otherwise every lease would lapse, although no worker died."""
    assert await leases_of(dispatcher).renew(QUEUE, [WORKER], lease_seconds=60) == {WORKER: "held"}


async def test_a_full_redis_lets_a_worker_go(full: list[str], dispatcher: Dispatcher) -> None:
    assert await dispatcher.release(QUEUE, [Release(full[0])], worker_id=WORKER) == 1
    assert await leases_of(dispatcher).close(QUEUE, worker_id=WORKER)


Call = Callable[[Dispatcher], Awaitable[Any]]
HELD = "01900000-0000-7000-8000-000000000001"
WAITING = "01900000-0000-7000-8000-000000000002"
WAITS = Backlog.of(WAITING)
CALLS: dict[str, Call] = {
    "push": lambda dispatcher: dispatcher.push(QUEUE, ids(1), lane=Lane.HIGH),
    "refill": lambda dispatcher: dispatcher.refill(
        QUEUE, ids(1), lane=Lane.HIGH, seen=WAITS, left=None
    ),
    "pull": lambda dispatcher: dispatcher.pull(QUEUE, worker_id=WORKER, limit=10),
    "release": lambda dispatcher: dispatcher.release(
        QUEUE, [Release(HELD, Lane.LOW)], worker_id=WORKER
    ),
    "park": lambda dispatcher: dispatcher.release(
        QUEUE, [Release(HELD, Destination.PARKED)], worker_id=WORKER
    ),
    "restore": lambda dispatcher: dispatcher.restore(QUEUE, ids(1), worker_id=WORKER),
    "held": lambda dispatcher: dispatcher.held(QUEUE, worker_id=WORKER),
    "open": lambda dispatcher: leases_of(dispatcher).open(
        QUEUE, worker_id=WORKER, lease_seconds=1, token="t"
    ),
    "renew": lambda dispatcher: leases_of(dispatcher).renew(QUEUE, [WORKER], lease_seconds=1),
    "list_leases": lambda dispatcher: leases_of(dispatcher).list_leases(QUEUE),
    "close": lambda dispatcher: leases_of(dispatcher).close(QUEUE, worker_id=WORKER),
}
HOSTILE = {
    "ready": KEYS.ready(QUEUE, Lane.NORMAL),
    "high": KEYS.ready(QUEUE, Lane.HIGH),
    "low": KEYS.ready(QUEUE, Lane.LOW),
    "suspect": KEYS.ready(QUEUE, Lane.SUSPECT),
    "processing": KEYS.processing(QUEUE, WORKER),
    "parked": KEYS.parked(QUEUE),
    "leases": KEYS.leases(QUEUE),
    "beats": KEYS.beats(QUEUE),
    "epoch": KEYS.epoch(QUEUE),
    "backlog": KEYS.backlog(QUEUE),
}
# Which of these keys each call looks at; close leaves the others alone while the list holds
# something.
LANES = {"ready", "high", "low"}
TOUCHED: dict[str, set[str]] = {
    "push": {"ready", "high", "backlog"},
    "refill": {"ready", "high", "backlog"},
    "pull": LANES | {"processing", "leases"},
    "release": LANES | {"processing", "suspect", "parked"},
    "park": LANES | {"processing", "suspect", "parked"},
    "restore": {"processing"},
    "held": {"processing", "parked"},
    "open": {"leases", "beats", "epoch"},
    "renew": {"leases", "beats"},
    "list_leases": {"leases", "beats"},
    "close": {"processing"},
}


@pytest.mark.parametrize("call", CALLS)
async def test_a_key_of_another_type_is_removed_and_the_rest_stays(
    dispatcher: Dispatcher, valkey: Redis, call: str
) -> None:
    """The script stops before it has moved anything, and runs once more without that key."""
    for hostile, name in HOSTILE.items():
        await valkey.flushall()
        await begin(dispatcher)
        await dispatcher.push(QUEUE, [HELD])
        await dispatcher.pull(QUEUE, worker_id=WORKER, limit=1)
        for lane in (Lane.HIGH, Lane.NORMAL, Lane.LOW):
            await dispatcher.push(QUEUE, [WAITING], lane=lane)
        await valkey.delete(name)
        if hostile in ("beats", "backlog"):
            await valkey.set(name, "1")
        else:
            await valkey.hset(name, "a", "1")
        await valkey.set(KEYS.data(), "epoch")
        before = await _ids(valkey)
        with recorded() as events:
            await CALLS[call](dispatcher)
        repaired = [event.fields["keys"] for event in events if event.name == "dispatch.repaired"]
        if hostile not in TOUCHED[call]:
            assert repaired == []
            continue
        kind = "string" if hostile in ("beats", "backlog") else "hash"
        assert repaired == [[f"{name} ({kind})"]]
        assert await _ids(valkey) >= before
        # Deliveries that may have been lost with it are made again by the reaper that sees another
        # epoch.
        assert bool(await valkey.exists(KEYS.data())) == (
            hostile in ("leases", "beats", "epoch", "parked")
        )


async def _ids(valkey: Redis) -> set[bytes]:
    """The contents of all lists together."""
    lists = [name for name in await valkey.keys("*") if await valkey.type(name) == b"list"]
    return {as_bytes(value) for name in lists for value in await valkey.lrange(name, 0, -1)} - {b""}


@pytest.mark.parametrize("call", CALLS)
async def test_a_redis_that_is_away_is_unreachable(
    redis_only: Config, proxy_to: ProxyTo, call: str
) -> None:
    assert redis_only.redis_url is not None
    proxy = await proxy_to(redis_only.redis_url)
    proxy.refusing = True
    valkey = open_redis(replace(redis_only, redis_url=proxy.url), name="leaseq-test")

    with pytest.raises(ServerUnreachable, match="Redis does not answer"):
        await CALLS[call](Dispatcher(valkey, KEYS))
    with pytest.raises(ServerUnreachable):
        await parts_over(valkey, KEYS).lists.depths(QUEUE)
    await valkey.aclose()


class Calls:
    """How many times has the server carried out a command since?"""

    def __init__(self, valkey: Redis, command: str) -> None:
        self._client = valkey
        self._name = f"cmdstat_{command}"

    async def count(self) -> int:
        stats = await self._client.info("commandstats")
        return int(stats.get(self._name, {"calls": 0})["calls"])


@pytest.fixture
async def bell(redis_only: Config, proxy_to: ProxyTo) -> AsyncIterator[tuple[Any, BlockingPull]]:
    """A doorbell behind a proxy."""
    assert redis_only.redis_url is not None
    proxy = await proxy_to(redis_only.redis_url)
    valkey = open_blocking_redis(
        replace(redis_only, redis_url=proxy.url), name="leaseq-bell", block_seconds=0.5
    )
    bell = BlockingPull(
        valkey, KEYS, queue=QUEUE, worker_id=WORKER, block_seconds=0.5, lane=Lane.NORMAL
    )
    yield proxy, bell
    await bell.aclose()


async def test_blmove_is_sent_once_when_its_reply_is_lost(
    bell: tuple[Any, BlockingPull], dispatcher: Dispatcher, valkey: Redis
) -> None:
    """By default redis-py would send it again, eleven times, and move an id each time
    (docs/pitfalls.md#p1)."""
    proxy, doorbell = bell
    await doorbell.wait()  # connected: what follows is one command and nothing else
    pushed = ids(12)
    await dispatcher.push(QUEUE, pushed)
    calls = Calls(valkey, "blmove")
    before = await calls.count()
    trap = proxy.lose_reply(b"BLMOVE")

    with pytest.raises(ServerUnreachable):
        await doorbell.wait()

    assert trap.sprung.is_set()
    assert await calls.count() - before == 1
    assert await in_hand(valkey) == pushed[:1]
    assert proxy.sent.count(b"BLMOVE") == 2


async def test_a_doorbell_works_again_after_its_connection_was_cut(
    bell: tuple[Any, BlockingPull], dispatcher: Dispatcher
) -> None:
    """At the first call, or at the second if the first did not see the cut before it wrote."""
    proxy, doorbell = bell
    await doorbell.wait()
    proxy.cut()
    pushed = ids(1)
    await dispatcher.push(QUEUE, pushed)

    try:
        found = await doorbell.wait()
    except ServerUnreachable:
        found = await doorbell.wait()
    assert found.task_ids == pushed


async def test_a_doorbell_that_waits_in_vain_says_so(bell: tuple[Any, BlockingPull]) -> None:
    found = await bell[1].wait()
    assert (found.task_ids, found.garbage, found.code) == ([], [], PullCode.OK)


async def test_a_push_wakes_the_doorbell_of_every_open_lane(
    bell: tuple[Any, BlockingPull], dispatcher: Dispatcher, valkey: Redis
) -> None:
    waiting = asyncio.create_task(bell[1].wait())
    await _until_blocking(valkey)
    await dispatcher.push(QUEUE, ids(1), lane=Lane.LOW)

    assert (await waiting).garbage == [b""]
    assert await in_hand(valkey) == [""]
    assert await dispatcher.release(QUEUE, [Release(b"")], worker_id=WORKER) == 1


async def test_a_cancelled_doorbell_does_not_answer_the_next_question_with_the_last_answer(
    bell: tuple[Any, BlockingPull], dispatcher: Dispatcher, valkey: Redis
) -> None:
    _, doorbell = bell
    waiting = asyncio.create_task(doorbell.wait())
    await _until_blocking(valkey)
    waiting.cancel()
    assert isinstance(
        (await asyncio.gather(waiting, return_exceptions=True))[0], asyncio.CancelledError
    )
    pushed = ids(2)
    await dispatcher.push(QUEUE, pushed)

    found = await doorbell.wait()

    assert found.task_ids == (await in_hand(valkey))[-1:]
    assert sorted(await in_hand(valkey) + await in_lane(valkey)) == sorted(pushed)


async def test_a_frozen_redis_is_given_up_after_the_block_and_some_seconds(
    bell: tuple[Any, BlockingPull],
) -> None:
    proxy, doorbell = bell
    await doorbell.wait()
    proxy.freeze()

    with pytest.raises(ServerUnreachable):
        async with asyncio.timeout(30):
            await doorbell.wait()


async def test_a_push_whose_reply_is_lost_is_not_sent_again(
    redis_only: Config, proxy_to: ProxyTo, valkey: Redis
) -> None:
    assert redis_only.redis_url is not None
    proxy = await proxy_to(redis_only.redis_url)
    far = open_redis(replace(redis_only, redis_url=proxy.url), name="leaseq-test")
    first, second = ids(2)
    await Dispatcher(far, KEYS).push(QUEUE, [first])
    proxy.lose_reply(second.encode())

    with pytest.raises(ServerUnreachable):
        await Dispatcher(far, KEYS).push(QUEUE, [second])
    await far.aclose()

    assert await in_lane(valkey) == [first, second]


async def _until_blocking(valkey: Redis) -> None:
    """Until the server itself says that a client waits in a blocking command."""
    blocked = 0
    while not blocked:
        blocked = (await valkey.info("clients"))["blocked_clients"]
