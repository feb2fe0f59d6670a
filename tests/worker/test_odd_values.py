"""Any value in Redis: the queue recovers within a lease.

A worker with its heartbeat and a reaper run in this process. Each case puts an odd value into one
key while one task runs, and submits another one: both end, and what leaseq logs and reads from
Redis meanwhile is small.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import pytest
import redis.asyncio
from msgspec import Struct

from leaseq import Context, Leaseq
from leaseq.codec import FIRST_ID, LAST_ID, new_task_id
from leaseq.config import Config
from leaseq.loop import run_forever
from leaseq.model import Lane, State
from leaseq.observability.telemetry import WARNING, recorded
from leaseq.operations.engine import Engine
from leaseq.supervisor.heartbeat import Heartbeat
from leaseq_chaos.pace import Pace
from leaseq_reaper.duty_runner import run_duties
from leaseq_reaper.reconcile.reconcile import Reconcile
from leaseq_reaper.sidecar import duties
from support.client import Client
from support.dispatch import KEYS
from support.worker import QUEUE, until, working

Put = Callable[[redis.asyncio.Redis, str], Awaitable[Any]]

# The lease of a deployment that says nothing else. Those of the test are shorter, so that a broken
# one is seen.
LEASE_SECONDS = Config().lease_seconds
MANY = 12_000  # more than a queue has workers
LARGE = 8 * 1_048_576
OTHER = "other"
app = Leaseq()
gates: list[asyncio.Event] = []


@app.task
async def quick() -> None:
    """Ends immediately."""


@app.task
async def held(ctx: Context) -> None:
    """Ends when the test says so."""
    await gates[-1].wait()


@app.task(queue=OTHER)
async def secret() -> None:
    """Of a queue that this worker does not serve."""
    raise AssertionError("a task of another queue was run here")


class Scene(Struct):
    """The parameters of a case."""

    store: redis.asyncio.Redis
    client: Client
    engine: Engine
    keys: dict[str, str]
    pace: Pace


@asynccontextmanager
async def running(
    config: Config, client: Client, redis_url: str, pace: Pace
) -> AsyncIterator[Scene]:
    """A worker, its heartbeat and a reaper."""
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(redis.asyncio.Redis.from_url(redis_url))
        worker = await stack.enter_async_context(working(config, app))
        stores, worker_id = client.engine.stores, worker.worker_id
        heartbeat = Heartbeat(config, stores, [QUEUE])
        stack.push_async_callback(heartbeat.aclose)

        async def beat() -> None:
            await heartbeat.beat([worker_id])

        every = config.heartbeat_seconds
        async with asyncio.TaskGroup() as group:
            group.create_task(
                run_forever(beat, name="heartbeat", interval_seconds=every, stop=stop)
            )
            group.create_task(run_duties(duties(client.engine), stop))
            keys = {
                "ready": KEYS.ready(QUEUE, Lane.NORMAL),
                "high": KEYS.ready(QUEUE, Lane.HIGH),
                "low": KEYS.ready(QUEUE, Lane.LOW),
                "suspect": KEYS.ready(QUEUE, Lane.SUSPECT),
                "processing": KEYS.processing(QUEUE, worker_id),
                "ghost": KEYS.processing(QUEUE, "nobody"),
                "leases": KEYS.leases(QUEUE),
                "beats": KEYS.beats(QUEUE),
                "paused": KEYS.paused(QUEUE),
                "epoch": KEYS.epoch(QUEUE),
                "backlog": KEYS.backlog(QUEUE),
                "parked": KEYS.parked(QUEUE),
                "data": KEYS.data(),
                "backlogs": KEYS.backlogs(),
                "probe": KEYS.probe(),
                "ledger": KEYS.ledger(),
            }
            yield Scene(store, client, client.engine, keys, pace)
            stop.set()


@pytest.fixture
async def scene(config: Config, client: Client, redis_url: str, pace: Pace) -> AsyncIterator[Scene]:
    async with running(config, client, redis_url, pace) as made:
        yield made


def of_type(kind: str) -> Put:
    """A key of this type with one value in it."""

    async def put(store: redis.asyncio.Redis, key: str) -> None:
        # Immediately, since the services go on writing to some of these keys.
        change: Any = store.pipeline(transaction=True)
        change.delete(key)
        match kind:
            case "string":
                change.set(key, b"\xff\x00odd")
            case "list":
                change.rpush(key, b"\xff\x00odd")
            case "hash":
                change.hset(key, b"\xff\x00odd", b"\xff")
            case "set":
                change.sadd(key, b"\xff\x00odd")
            case "zset":
                change.zadd(key, {b"\xff\x00odd": 1})
            case "stream":
                change.xadd(key, {b"\xff\x00odd": b"\xff"})
            case "absent":
                pass
        await change.execute()

    return put


TYPES = ("string", "list", "hash", "set", "zset", "stream", "absent")


async def is_well(scene: Scene, name: str, put: Put) -> tuple[float, int]:
    """Put a value in. A task that runs and one that comes both end; returns after how many seconds,
    and how many lines of log."""
    gates.append(asyncio.Event())
    runs = await scene.client.submit("held")
    await scene.client.engine.pusher.aclose()

    async def is_running() -> bool:
        return (await scene.client.find(runs)).state is State.PROCESSING

    patience = 10 * LEASE_SECONDS * scene.pace.slowness
    await until(is_running, seconds=patience)
    with recorded(level=WARNING) as events:
        await put(scene.store, scene.keys[name])
        began = time.monotonic()
        comes = await scene.client.submit("quick")
        gates[-1].set()
        for task_id in (runs, comes):
            task = await scene.client.ended(task_id, timeout=patience)
            assert (task.state, task.attempt) == (State.SUCCESS, 1)
        return time.monotonic() - began, len(events)


async def check(scene: Scene, cases: Iterable[tuple[str, str, Put]], *, lines: int = 40) -> None:
    """Each case within a lease, and few lines of log for it."""
    slow = {}
    for name, value, put in cases:
        seconds, said = await is_well(scene, name, put)
        assert said <= lines, (name, value, said)
        if seconds > LEASE_SECONDS * scene.pace.slowness:
            slow[name, value] = seconds
    assert not slow


@pytest.mark.slow("a repair for each key and type")
async def test_a_queue_is_well_again_whatever_type_a_key_is_of(scene: Scene) -> None:
    await check(scene, [(name, kind, of_type(kind)) for name in scene.keys for kind in TYPES])


def pushed(*values: bytes | str) -> Put:
    return lambda store, key: store.lpush(key, *values)


def fields(mapping: dict[Any, Any]) -> Put:
    return lambda store, key: store.hset(key, mapping=mapping)


def scores(mapping: dict[Any, float]) -> Put:
    return lambda store, key: store.zadd(key, mapping)


def text(value: bytes | str) -> Put:
    return lambda store, key: store.set(key, value)


async def every_score(store: redis.asyncio.Redis, key: str, score: float) -> None:
    members: list[Any] = await store.zrange(key, 0, -1)
    await store.zadd(key, dict.fromkeys(members, score))


async def every_beat(store: redis.asyncio.Redis, key: str, value: bytes | str) -> None:
    await store.hset(key, mapping=dict.fromkeys(await store.hkeys(key), value))


ODD_TEXTS: tuple[bytes, ...] = (
    b"",
    b"\x00",
    b"\xff\xfe\xfd",
    b"nan",
    b"1e999",
    b"9" * 400,
    b"x" * 36,
)
ODD_SCORES = (float("inf"), float("-inf"), 1e300, -1e300, 0.0, 2.0**63, -1.0)


def odd_values(unknown: str, elsewhere: str) -> Iterator[tuple[str, str, Put]]:
    """Odd values in keys of the right type: together where a key holds many."""
    texts = {f"text {number}": value for number, value in enumerate(ODD_TEXTS)}
    for name in ("ready", "high", "low", "suspect", "processing", "ghost", "parked"):
        yield (
            name,
            "texts and ids",
            pushed(*ODD_TEXTS, unknown, unknown.upper(), elsewhere, FIRST_ID, LAST_ID),
        )
    for score in ODD_SCORES:
        yield "leases", f"of all {score}", partial(every_score, score=score)
        yield (
            "leases",
            f"made up {score}",
            scores({"x": score, b"\xff\x00": score, "": score, "y" * 400: score}),
        )
    for name in ("beats", "backlog", "backlogs"):
        yield name, "names and texts", fields(dict(zip(ODD_TEXTS, ODD_TEXTS, strict=True)))
    for shown, value in texts.items():
        yield "beats", f"of all {shown}", partial(every_beat, value=value)
        yield "backlog", shown, fields({"normal": value})
        yield "ledger", shown, fields({"ledger": value, "system": value, "timeline": value})
        for name in ("epoch", "data"):
            yield name, shown, text(value)
    for name in ("paused", "probe"):  # that are never read
        yield name, "text", text(ODD_TEXTS[2])
    yield "beats", "the largest", partial(every_beat, value=str(2**63 - 1))
    for cursor in (
        FIRST_ID,
        LAST_ID,
        unknown,
        f"{FIRST_ID} {LAST_ID} x",
        f"{LAST_ID} {FIRST_ID} x",
    ):
        yield "backlog", cursor, fields({"normal": cursor})


@pytest.mark.slow("a repair for each key and value")
async def test_a_queue_is_well_again_whatever_value_a_key_holds(scene: Scene) -> None:
    elsewhere = await scene.client.submit("secret", options={"queue": OTHER})
    await check(scene, odd_values(new_task_id(), elsewhere))
    assert (await scene.client.find(elsewhere)).attempt == 0


async def test_a_queue_is_well_again_whatever_keys_are_called(scene: Scene) -> None:
    """Nothing of leaseq has such names. Scans of the key space ignore them."""
    named = [
        "{\x00}:paused",
        "{\x00}:leases",
        "{}:leases",
        "{default",
        "{default}:",
        "{default}:processing:",
        "{default}:what",
        "{" * 9,
    ]
    named += [
        "{default}:processing:\x00",
        "{default}:processing:" + "y" * 400,
        "{a b}:backlog",
        "{default}:ready:what",
        "ledgers",
    ]

    async def put(store: redis.asyncio.Redis, key: str) -> None:
        for name in named:
            await store.rpush(f"leaseq:{name}", "x")
        await store.set("leaseq:{default}:processing:" + "x" * LARGE, "x")
        await store.set(b"leaseq:{\xff}:paused", "x")

    before = await sent(scene.store)
    await check(scene, [("ready", "names", put)])
    with recorded(level=WARNING) as events:
        await later_rounds(scene)
    assert [event.fields for event in events if event.name == "loop.failed"] == []
    assert await sent(scene.store) - before < LARGE / 2


async def later_rounds(scene: Scene) -> None:
    """A reaper looks at the whole key space."""
    reconcile = Reconcile(
        scene.engine.stores,
        scene.engine.recovery,
        interval_seconds=scene.engine.config.reconcile_interval_seconds,
    )
    await reconcile.run_once()
    reconcile._dispatch_scan._round_at = 0.0
    await reconcile.run_once()


async def test_a_timeline_that_no_failover_has_made_is_not_believed(scene: Scene) -> None:
    newest = 2**32 - 1
    timeline = scene.engine.stores.ownership.timeline
    assert timeline is not None

    async def put(store: redis.asyncio.Redis, key: str) -> None:
        await store.hset(key, mapping={"system": timeline.system, "timeline": str(newest)})

    await check(scene, [("ledger", "timeline", put)])
    await scene.engine.stores.ownership.check()
    assert scene.engine.stores.ownership.timeline == timeline


def large(kind: str) -> Put:
    """A value of many bytes."""
    value = b"x" * LARGE
    return {
        "list": pushed(value),
        "string": text(value),
        "member": scores({value: 1}),
        "field": fields({value: "1"}),
        "value": fields(dict.fromkeys(("normal", "made.up", "system"), value)),
    }[kind]


LARGE_ONES = [
    *((name, "list") for name in ("high", "low", "suspect", "processing", "ghost", "parked")),
    *((name, "string") for name in ("paused", "epoch", "data", "probe")),
    ("leases", "member"),
    *(
        (name, kind)
        for name in ("beats", "backlog", "backlogs", "ledger")
        for kind in ("field", "value")
    ),
]


async def sent(store: redis.asyncio.Redis) -> int:
    """Bytes that the server has sent to all its clients."""
    return int((await store.info("stats"))["total_net_output_bytes"])


async def test_nothing_large_leaves_redis(scene: Scene) -> None:
    await is_well(scene, "ready", of_type("absent"))
    cases: list[tuple[str, str, Put]] = [
        ("beats", "of all", partial(every_beat, value=b"x" * LARGE))
    ]
    cases += [(name, kind, large(kind)) for name, kind in LARGE_ONES]
    for name, kind, put in cases:
        before = await sent(scene.store)
        await check(scene, [(name, kind, put)])
        assert await sent(scene.store) - before < LARGE / 2, (name, kind)


async def test_a_blocking_move_brings_a_large_value_once_at_most_and_drops_it(scene: Scene) -> None:
    await is_well(scene, "ready", of_type("absent"))
    before = await sent(scene.store)
    await check(scene, [("ready", "large", large("list"))])

    async def is_parked() -> bool:
        return bool(
            await scene.store.llen(scene.keys["parked"])
            and not await scene.store.exists(scene.keys["processing"])
        )

    await until(is_parked, seconds=LEASE_SECONDS * scene.pace.slowness)
    assert await sent(scene.store) - before < 1.5 * LARGE
    assert await scene.store.lindex(scene.keys["parked"], 0) == b"x" * 65_536


async def in_bulk(
    store: redis.asyncio.Redis, command: str, key: str, words: list[Any], *, step: int = 5000
) -> None:
    pipe = store.pipeline(transaction=False)
    for start in range(0, len(words), step):
        pipe.execute_command(command, key, *words[start : start + step])
    await pipe.execute()


def many(kind: str) -> Put:
    """Very many values."""
    made: dict[str, list[Any]] = {
        "garbage": [f"x{number}" for number in range(MANY)],
        "alike": ["x" * 36] * MANY,
        "unknown": [FIRST_ID[:-6] + f"{number:06}" for number in range(MANY)],
        "repeated": [new_task_id()] * MANY,
        "members": [word for number in range(MANY) for word in (number, f"made-up-{number}")],
        "fields": [word for number in range(MANY) for word in (f"made.up.{number}", FIRST_ID)],
    }
    words = made[kind]
    command = {"members": "ZADD", "fields": "HSET"}.get(kind, "LPUSH")
    return lambda store, key: in_bulk(store, command, key, words)


async def test_very_many_values_hold_up_nothing(scene: Scene) -> None:
    cases = [("ready", kind, many(kind)) for kind in ("garbage", "alike", "unknown", "repeated")]
    cases += [
        (name, "unknown", many("unknown")) for name in ("high", "suspect", "processing", "ghost")
    ]
    cases += [("parked", "garbage", many("garbage")), ("leases", "members", many("members"))]
    cases += [
        (name, "fields", many("fields")) for name in ("beats", "backlog", "backlogs", "ledger")
    ]
    await check(scene, cases)
