"""A connection whose server reports that it takes no writes any more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis
from redis.exceptions import RedisError

from leaseq.config import Config
from leaseq.connections.redis import open_blocking_redis, open_redis
from leaseq.connections.redis_connection import Guard
from leaseq.dispatch.blocking_pull import BlockingPull
from leaseq.dispatch.deliveries import Deliveries
from leaseq.dispatch.dispatcher import Dispatcher
from leaseq.errors import ServerUnreachable
from leaseq.model import Lane
from support.dispatch import KEYS, QUEUE, WORKER, begin, ids, leases_of
from support.proxy import ProxyTo
from support.redis_wire import read_command
from support.servers import RedisPair

SCRIPT = "Error running script (call to f_0123): @user_script:13: @user_script: 13:"
CONDEMN = [
    "READONLY You can't write against a read only replica.",
    "READONLY You can't write against a read only replica. script: 0123, on @user_script:13.",
    f"ERR {SCRIPT} -READONLY You can't write against a read only replica.",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "LOADING Redis is loading the dataset in memory",
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
    "NOREPLICAS Not enough good replicas to write.",
    f"ERR {SCRIPT} -NOREPLICAS Not enough good replicas to write.",
]
KEEP = [
    "OOM command not allowed when used memory > 'maxmemory'.",
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "WRONGTYPE Operation against a key holding the wrong kind of value",
    "NOPERM User leaseq has no permissions to run the 'get' command",
    "CLUSTERDOWN The cluster is down",
    "ERR unknown command",
]


class Answering:
    """Speaks just enough RESP to be connected to, and answers GET with an error; counts its
    connections."""

    def __init__(self, error: str) -> None:
        self.error = error
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while words := await read_command(reader):
            writer.write(f"-{self.error}\r\n".encode() if words[0] == b"GET" else b"+OK\r\n")
        writer.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        async with server:
            yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"


@pytest.mark.parametrize(
    ("error", "connections"), [*((said, 2) for said in CONDEMN), *((said, 1) for said in KEEP)]
)
@pytest.mark.parametrize("blocking", [False, True], ids=["shared", "blocking"])
async def test_an_answer_of_a_server_that_lost_its_role_condemns_the_connection(
    error: str, connections: int, blocking: bool
) -> None:
    server = Answering(error)
    async with server.running() as url:
        config = Config(redis_url=url)
        opened = (
            open_blocking_redis(config, name="bell", block_seconds=1)
            if blocking
            else open_redis(config, name="general")
        )
        async with opened as client:
            with pytest.raises(RedisError):
                await client.get("x")
            assert await client.set("x", "1")
            assert server.connections == connections


async def test_a_condemned_connection_hands_over_what_is_on_its_way_and_sends_nothing_more() -> (
    None
):
    """A pipeline is answered whole: its later replies are not treated as those of the next
    command."""
    server = Answering(CONDEMN[0])
    async with server.running() as url, open_redis(Config(redis_url=url), name="general") as client:
        pipe = client.pipeline(transaction=False)
        _ = [pipe.set("a", "1"), pipe.get("a"), pipe.set("b", "1"), pipe.get("b")]
        first, second, third, fourth = await pipe.execute(raise_on_error=False)
        assert (first, third) == (True, True)
        assert isinstance(second, RedisError)
        assert isinstance(fourth, RedisError)
        assert server.connections == 1
        assert await client.set("c", "1")
        assert server.connections == 2


async def test_one_answer_condemns_every_connection_of_the_process() -> None:
    server, guard = Answering(CONDEMN[0]), Guard()
    async with server.running() as url:
        config = Config(redis_url=url)
        bell = open_blocking_redis(config, name="bell", block_seconds=1, guard=guard)
        async with open_redis(config, name="general", guard=guard) as client, bell:
            await asyncio.gather(*(client.set("x", n) for n in range(3)), bell.set("x", "1"))
            open_before = server.connections
            with pytest.raises(RedisError):
                await client.get("x")
            await asyncio.gather(*(client.set("x", n) for n in range(3)), bell.set("x", "1"))
            assert server.connections == 2 * open_before, "each was made again, once"


class Bell:
    """A doorbell that is waited at again and again, as an idle worker does."""

    def __init__(self, client: Redis) -> None:
        self.bell = BlockingPull(
            client, KEYS, queue=QUEUE, worker_id=WORKER, block_seconds=0.5, lane=Lane.NORMAL
        )
        self.failures = 0

    async def rings(self) -> Deliveries:
        while True:
            try:
                if (found := await self.bell.wait()).task_ids:
                    return found
            except ServerUnreachable:
                self.failures += 1


async def pushed(dispatcher: Dispatcher, task_id: str) -> int:
    """Push until it is taken; how often it failed."""
    failures = 0
    while True:
        try:
            await dispatcher.push(QUEUE, [task_id])
            return failures
        except ServerUnreachable:
            failures += 1
            assert failures < 5, "the old server was not left"


async def test_clients_leave_a_primary_that_was_demoted_and_lives_on(
    redis_only: Config, redis_pair: RedisPair, proxy_to: ProxyTo
) -> None:
    pair = redis_pair
    proxy = await proxy_to(pair.url(pair.first))
    config = replace(redis_only, redis_url=proxy.url)
    guard = Guard()
    bell = open_blocking_redis(config, name="bell", block_seconds=0.5, guard=guard)
    async with open_redis(config, name="general", guard=guard) as client, bell:
        dispatcher, ringing = Dispatcher(client, KEYS), Bell(bell)
        await begin(dispatcher)
        before, after = ids(2)
        await dispatcher.push(QUEUE, [before])
        assert (await ringing.rings()).task_ids == [before]
        await asyncio.to_thread(pair.wait_for_copy, pair.second)
        # blocks on the old primary while it is demoted
        waiting = asyncio.create_task(ringing.rings())
        await asyncio.to_thread(switch, pair)
        proxy.lead_to(pair.url(pair.second))
        # Until now each new connection led to the old primary, too.
        ringing.failures = 0
        began = time.monotonic()
        assert await pushed(dispatcher, after) <= 1
        assert (await waiting).task_ids == [after]
        assert ringing.failures <= 2
        assert time.monotonic() - began < 10, (
            "within a block and a look; the rest is for a slow machine"
        )
        assert await leases_of(dispatcher).renew(QUEUE, [WORKER], lease_seconds=60) == {
            WORKER: "held"
        }
        pulled = await dispatcher.pull(QUEUE, worker_id=WORKER, limit=5)
        assert pulled.task_ids == []


def switch(pair: RedisPair) -> None:
    """The replica is promoted, and the old primary follows it."""
    pair.promote(pair.second)
    pair.follow(pair.first, pair.second)
