"""The Redis users of docs/operations.md have exactly the necessary rights."""

from __future__ import annotations

import re
import shlex
import signal
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import redis.asyncio
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.connections.redis import open_blocking_redis, open_redis
from leaseq.dispatch.blocking_pull import BlockingPull
from leaseq.dispatch.deliveries import Destination, Release
from leaseq.dispatch.dispatcher import Dispatcher
from leaseq.dispatch.ownership import Owner
from leaseq.dispatch.parts import DispatchParts, parts_over
from leaseq.embedded import ValkeyServer
from leaseq.errors import ServerUnreachable
from leaseq.model import Lane, State
from leaseq.observability.telemetry import WARNING, recorded
from leaseq.server_checks.startup import require_usable_servers
from support.client import Client
from support.dispatch import KEYS, QUEUE, WORKER, begin, ids, leases_of
from support.processes import Services
from support.servers import free_port
from support.source_tree import ROOT

ENDLESS = "repeat\tuntil\tfalse"
FOR_NEITHER = [
    *(
        f"EVAL {ENDLESS} 0",
        f"EVAL_RO {ENDLESS} 0",
        "FUNCTION LOAD #!lua",
        "FCALL endless 0",
        "SCRIPT FLUSH",
        "SCRIPT KILL",
    ),
    *(
        "SET another:key 1",
        "SET leaseqx:key 1",
        "GET leaseq:{default}:paused",
        "FLUSHALL",
        "KEYS *",
        "CONFIG GET *",
        "ACL WHOAMI",
    ),
]
# Commands of the connection itself, and of the test as the owner of the server.
NOT_COUNTED = {"acl", "auth", "config", "hello", "info", "flushall", "quit"}


def documented() -> list[list[str]]:
    """The words after ACL in the block of docs/operations.md, for each user."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    (rights,) = re.findall(r"^rights='(.*?)'$", text, re.DOTALL | re.MULTILINE)
    commands = re.findall(r"^redis-cli ACL (SETUSER .*)$", text, re.MULTILINE)
    return [shlex.split(words.replace("$rights", rights.replace("\n", " "))) for words in commands]


@pytest.fixture
async def owner(own_valkey: ValkeyServer) -> AsyncIterator[redis.asyncio.Redis]:
    """The owner of a server that has the users of the documents, just made."""
    async with redis.asyncio.Redis.from_url(own_valkey.url) as client:
        for words in documented():
            await command(client, "ACL", *words)
        await client.config_resetstat()
        yield client


@pytest.fixture
def reapers(config: Config, own_valkey: ValkeyServer) -> Config:
    """The way of the reapers' user to that server."""
    return replace(config, redis_url=_as("leaseq-reaper", own_valkey))


@pytest.fixture
def config(config: Config, own_valkey: ValkeyServer, owner: redis.asyncio.Redis) -> Config:
    """The way of the other processes' user to that server."""
    return replace(config, redis_url=_as("leaseq", own_valkey))


def _as(user: str, server: ValkeyServer) -> str:
    return f"redis://{user}:PASSWORD@{urlsplit(server.url).netloc.rpartition('@')[2]}/0"


async def command(client: redis.asyncio.Redis, *words: str) -> None:
    # The client's own method for this is untyped, too.
    await client.execute_command(*words)  # type: ignore[no-untyped-call]


async def commands(owner: redis.asyncio.Redis) -> dict[str, dict[str, Any]]:
    """The commands that the server has received since its start, including those of scripts."""
    counted: dict[str, dict[str, Any]] = await owner.info("commandstats")
    return {name.removeprefix("cmdstat_"): numbers for name, numbers in counted.items()}


async def ask_for_everything(
    dispatcher: Dispatcher, reads: DispatchParts, doorbell: BlockingPull
) -> None:
    """Every verb of dispatch, and every branch of its scripts that asks for a command of its
    own."""
    await begin(dispatcher)
    pushed = ids(4)
    await dispatcher.push(QUEUE, pushed)
    await dispatcher.push(QUEUE, ids(2), lane=Lane.LOW)
    assert (await doorbell.wait()).task_ids == pushed[:1]
    assert (await dispatcher.pull(QUEUE, worker_id=WORKER, limit=3)).task_ids == pushed[1:]
    assert (await dispatcher.held(QUEUE, worker_id=WORKER)).task_ids == pushed
    assert await leases_of(dispatcher).renew(QUEUE, [WORKER], lease_seconds=60) == {WORKER: "held"}
    assert [lease.worker_id for lease in await leases_of(dispatcher).list_leases(QUEUE)] == [WORKER]
    releases = [
        Release(pushed[0]),
        Release(pushed[1], Destination.PARKED),
        Release(pushed[2], Lane.HIGH),
        Release(pushed[3]),
    ]
    assert await dispatcher.release(QUEUE, releases, worker_id=WORKER) == 4
    assert await dispatcher.restore(QUEUE, pushed[:1], worker_id=WORKER) == 1
    assert (await reads.lists.scan(0, count=10))[1]
    found = await reads.search.find(
        QUEUE, pushed[0], lane=Lane.NORMAL, worker_ids=[WORKER], seconds=60
    )
    assert (found.place, found.holders) == (None, [WORKER])
    await dispatcher.release(QUEUE, releases[:1], worker_id=WORKER)
    assert await leases_of(dispatcher).close(QUEUE, worker_id=WORKER)
    assert (await reads.lists.depths(QUEUE)).waiting == 4
    await Dispatcher(reads.lists._client, KEYS, window=2).push(QUEUE, ids(3), lane=Lane.HIGH)
    backlog = (await reads.lane_backlogs.read(QUEUE))[Lane.HIGH]
    assert await dispatcher.refill(QUEUE, ids(1), lane=Lane.HIGH, seen=backlog, left=None)
    for paused in (True, False):
        await reads.pause_flags.set(QUEUE, paused=paused)
    assert await reads.dispatch_server.epoch() is None
    assert await reads.dispatch_server.begin_epoch("another") == await reads.dispatch_server.epoch()
    assert [*await reads.lane_backlogs.queues()] == [QUEUE]
    assert await reads.pause_flags.read_many([QUEUE]) == {QUEUE: False}
    assert await reads.dispatch_server.owner() == Owner(None, None)
    await reads.lane_backlogs.remove([QUEUE])
    for name in (KEYS.epoch(QUEUE), KEYS.ready(QUEUE, Lane.LOW)):  # of another type
        await reads.lists._client.delete(name)
        await reads.lists._client.hset(name, "a", "1")
    await dispatcher.push(QUEUE, ids(1), lane=Lane.LOW)
    await begin(dispatcher)
    await reads.lists._client.delete(KEYS.ledger())
    assert await dispatcher.forget(["another"]) == ["another"]


async def test_every_right_is_enough_and_every_one_is_used(
    config: Config, reapers: Config, owner: redis.asyncio.Redis
) -> None:
    async with open_redis(reapers, name="leaseq reaper") as client:
        await Dispatcher(client, KEYS).load_scripts()
    bell = open_blocking_redis(config, name="leaseq test doorbell", block_seconds=0.5)
    doorbell = BlockingPull(
        bell, KEYS, queue=QUEUE, worker_id=WORKER, block_seconds=0.5, lane=Lane.NORMAL
    )
    async with open_redis(config, name="leaseq test") as client, bell:
        await ask_for_everything(Dispatcher(client, KEYS), parts_over(client, KEYS), doorbell)
    counted = (await commands(owner)).items()
    asked = {
        name
        for name, numbers in counted
        if numbers["calls"] and name.partition("|")[0] not in NOT_COUNTED
    }
    granted = {word[1:] for words in documented() for word in words if word.startswith("+")}
    assert asked == granted


async def test_neither_any_lua_nor_any_key_outside(
    config: Config, reapers: Config, owner: redis.asyncio.Redis
) -> None:
    """`EVALSHA` runs what a reaper has loaded. The reapers' user can load more, but touches no key
    outside the prefix either."""
    refused = redis.exceptions.NoPermissionError
    async with open_redis(reapers, name="leaseq reaper") as client:
        outside = await client.script_load("return redis.call('SET', KEYS[1], '1')")
        for call in [f"EVALSHA {outside} 1 another:key", *FOR_NEITHER]:
            with pytest.raises(refused):
                await command(client, *call.split(" ", 3))
    async with open_redis(config, name="leaseq test") as client:
        for call in [f"EVALSHA {outside} 1 another:key", f"SCRIPT LOAD {ENDLESS}", *FOR_NEITHER]:
            with pytest.raises(refused):
                await command(client, *call.split(" ", 3))


async def test_missing_script_is_reported_and_loaded_by_a_reaper(
    config: Config, reapers: Config
) -> None:
    async with (
        open_redis(config, name="leaseq test") as client,
        open_redis(reapers, name="leaseq reaper") as other,
    ):
        with pytest.raises(ServerUnreachable, match="a reaper does that"):
            await Dispatcher(client, KEYS).push(QUEUE, ids(1))
        await parts_over(other, KEYS).dispatch_server.epoch()  # any script at all
        assert len(await Dispatcher(client, KEYS).push(QUEUE, ids(1))) == 1


async def test_unreadable_info_is_unknown_and_no_failure(config: Config, reapers: Config) -> None:
    async with open_redis(reapers, name="leaseq reaper") as client:
        await Dispatcher(client, KEYS).load_scripts()
    async with open_redis(config, name="leaseq test") as client:
        reads = parts_over(client, KEYS)
        assert await reads.dispatch_server.run_id() is None
        policy = await reads.dispatch_server.settings()
        assert not any(policy[name] for name in ("version", "role", "maxmemory_policy"))
    with recorded(level=WARNING) as events:
        await require_usable_servers(config)
    # Postgres: tests connect as the superuser
    doubts = [event for event in events if event.fields["server"] == "redis"]
    assert [event.name for event in doubts] == ["server.doubted", "server.doubted"]


async def test_other_missing_right_is_reported(reapers: Config, owner: redis.asyncio.Redis) -> None:
    await command(owner, "ACL", "SETUSER", "leaseq-reaper", "-getrange")
    async with open_redis(reapers, name="leaseq test") as client:
        with pytest.raises(ServerUnreachable, match="permission"):
            await parts_over(client, KEYS).dispatch_server.epoch()


@pytest.mark.slow("a whole deployment as a restricted user")
async def test_worker_reaper_and_api_work_as_that_user(
    services: Services,
    client: Client,
    reapers: Config,
    owner: redis.asyncio.Redis,
    eventually: Callable[..., Any],
) -> None:
    port = free_port()
    reaper = await services.reaper(LEASEQ_REDIS_URL=str(reapers.redis_url))
    worker = await services.worker(children=2)
    api = await services.start("api", "--port", str(port))
    await api.hear("api.started")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
        ready = await http.get("/health/ready")
        assert ready.json() == {"ready": True, "postgres": "up", "redis": "up"}
        answers = [
            await http.post("/api/tasks", json={"type": "note", "payload": {"n": n}})
            for n in range(5)
        ]
        delayed = await http.post(
            "/api/tasks", json={"type": "note", "payload": {}, "delay_seconds": 0.2}
        )
        long = await http.post("/api/tasks", json={"type": "nap", "payload": {"seconds": 1.5}})
        await client.all_ended([answer.json()["task_id"] for answer in [*answers, delayed]])
        # A crash: what ran there is taken back, and runs again.
        await worker.hear("task.claimed", task_id=long.json()["task_id"])
        worker.signal(signal.SIGKILL, children=True)
        await services.worker()
        assert (await client.ended(long.json()["task_id"])).state is State.SUCCESS
        # The scripts are lost, as in a restart: the reaper loads them again.
        await owner.script_flush()
        again = await http.post("/api/tasks", json={"type": "note", "payload": {}})
        assert (await client.ended(again.json()["task_id"])).state is State.SUCCESS
        # All is lost: the epoch tells, and the reconciler delivers again.
        assert (await http.post("/api/queues/default/pause")).status_code == 200
        waiting = await http.post("/api/tasks", json={"type": "note", "payload": {}})
        await owner.flushall()
        await reaper.hear("epoch.changed")
        assert await eventually(lambda: owner.exists(KEYS.paused("default")))
        assert (await http.post("/api/queues/default/resume")).status_code == 200
        assert (await http.get(f"/api/tasks/{waiting.json()['task_id']}?wait=20")).json()[
            "state"
        ] == "SUCCESS"
    assert not reaper.heard("loop.failed")
    refused = {
        name for name, numbers in (await commands(owner)).items() if numbers["rejected_calls"]
    }
    assert refused <= {"info", "script|load"}
