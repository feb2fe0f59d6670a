"""Reads of many queues take few replies, and repair odd keys."""

from __future__ import annotations

from collections.abc import Callable

from redis.asyncio import Redis
from redis.asyncio.connection import Connection

from leaseq.connections.redis_connection import Guard, GuardedConnection
from leaseq.dispatch.backlog import Backlog
from leaseq.dispatch.dispatcher import Dispatcher
from leaseq.dispatch.parts import DispatchParts
from leaseq.dispatch.queue_lists import End
from leaseq.errors import ServerUnreachable
from leaseq.model import Lane
from support.dispatch import KEYS, WORKER, begin, ids, leases_of

NAMES = [f"q{number}" for number in range(40)]
PLACES = [(name, Lane.LOW) for name in NAMES]
BROKEN = 5


async def test_the_ends_of_many_lanes_come_in_one_reply(
    reads: DispatchParts, valkey: Redis, replies: Callable[[], int]
) -> None:
    pushed = ids(3)
    await valkey.rpush(KEYS.ready(*PLACES[3]), *pushed)
    await valkey.rpush(KEYS.ready(*PLACES[4]), "x" * 10_000)
    await reads.lists.ends(PLACES)
    replies()
    found = await reads.lists.ends(PLACES)
    assert replies() == 1
    assert found == dict.fromkeys(PLACES, End(0, b"")) | {
        PLACES[3]: End(3, pushed[-1].encode()),
        PLACES[4]: End(1, b"x" * 64),
    }
    await valkey.set(KEYS.ready(*PLACES[BROKEN]), "not a list")
    assert await reads.lists.ends(PLACES) == found
    assert not await valkey.exists(KEYS.ready(*PLACES[BROKEN]))


async def test_the_backlogs_of_many_queues_come_in_one_reply(
    reads: DispatchParts, valkey: Redis, replies: Callable[[], int]
) -> None:
    begin_at, later = ids(2)
    await valkey.hset(KEYS.backlog(NAMES[3]), mapping={"high": begin_at, "low": later})
    await reads.lane_backlogs.read_many(NAMES)
    replies()
    found = await reads.lane_backlogs.read_many(NAMES)
    assert replies() == 1
    expected = {Lane.HIGH: Backlog.of(begin_at), Lane.LOW: Backlog.of(later)}
    assert found == {NAMES[3]: expected}
    await valkey.set(KEYS.backlog(NAMES[BROKEN]), "no hash")
    assert await reads.lane_backlogs.read_many(NAMES) == found
    assert not await valkey.exists(KEYS.backlog(NAMES[BROKEN]))


async def test_deliveries_of_many_lanes_are_read_in_pages(
    reads: DispatchParts, valkey: Redis, replies: Callable[[], int]
) -> None:
    pushed, lost = ids(120), ids(1)
    for number in range(40):
        await valkey.rpush(KEYS.ready(*PLACES[number]), *pushed[3 * number : 3 * number + 3])
    wanted = {
        place: {*pushed[3 * number : 3 * number + 3], *lost} for number, place in enumerate(PLACES)
    }
    found = await reads.lists.delivered(wanted, lengths=dict.fromkeys(PLACES, 3))
    assert found == {place: task_ids - {*lost} for place, task_ids in wanted.items()}
    await valkey.delete(KEYS.ready(*PLACES[BROKEN]))
    await valkey.set(KEYS.ready(*PLACES[BROKEN]), "not a list")
    broken = await reads.lists.delivered(
        wanted, lengths=dict.fromkeys(PLACES, 3) | {PLACES[BROKEN]: 10**6}
    )
    assert broken == found | {PLACES[BROKEN]: set()}


async def test_the_leases_of_many_queues_come_in_one_round_trip(
    dispatcher: Dispatcher, valkey: Redis, replies: Callable[[], int]
) -> None:
    for name in NAMES[:2]:
        await begin(dispatcher, queue=name)
    await valkey.set(KEYS.leases(NAMES[BROKEN]), "no set")
    found = await leases_of(dispatcher).list_leases_of(NAMES)
    named = {
        name: [view.worker_id for view in views]
        for name, views in found.items()
        if not isinstance(views, ServerUnreachable)
    }
    assert named == {name: [] for name in NAMES} | {name: [WORKER] for name in NAMES[:2]}


async def test_registrations_in_many_queues_come_in_one_reply(
    dispatcher: Dispatcher, replies: Callable[[], int]
) -> None:
    for name in NAMES[1:]:
        await begin(dispatcher, queue=name)
    await leases_of(dispatcher).unregistered(NAMES, [WORKER])
    replies()
    found = await leases_of(dispatcher).unregistered(NAMES, [WORKER, "another"])
    assert replies() == 1
    assert found == [(NAMES[0], WORKER), *((name, "another") for name in NAMES)]


def test_a_command_is_packed_as_redis_py_packs_it() -> None:
    plain, ours = Connection(), GuardedConnection(guard=Guard())
    for command in (
        ("EVALSHA", "a" * 40, 2, "leaseq:{q}:ready", b"\x00\xff", 20_000, 0.25, "", "\u00fc"),
        ("SCRIPT LOAD", "return 1"),
        ("EXISTS", *(f"leaseq:{{{name}}}:ready".encode() for name in NAMES)),
        (b"SET", "key", "x" * 100_000),
        ("LPUSH", "key", Lane.HIGH),
    ):
        assert b"".join(ours.pack_command(*command)) == b"".join(plain.pack_command(*command))
