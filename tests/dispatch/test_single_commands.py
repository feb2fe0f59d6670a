"""A single command fails, ends and returns its connection as redis-py's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hiredis import pack_command
from redis.asyncio import Redis
from redis.exceptions import BusyLoadingError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from leaseq.config import Config
from leaseq.connections.redis import open_blocking_redis, open_redis
from leaseq.connections.redis_connection import VALUE_BYTES, Guard, Guarded, TooLarge
from leaseq.connections.single_commands import SharedPool, SingleCommands
from support.proxy import ProxyTo
from support.redis_wire import read_command
from support.worker import until


class Answers:
    """Speaks enough RESP to be connected to. Answers each GET with the next of `replies`, and with
    nothing if there is none. Counts its connections."""

    def __init__(self, *replies: bytes) -> None:
        self.replies = [*replies]
        self.connections = 0
        self.asked = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while words := await read_command(reader):
            if words[0] != b"GET":
                writer.write(b"+OK\r\n")
            elif self.replies:
                writer.write(self.replies.pop(0))
            self.asked.set()
        writer.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Config]:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        async with server:
            yield Config(redis_url=f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0")


def shared(config: Config, guard: Guard | None = None) -> Redis:
    return open_redis(config, name="general", guard=guard)


def alone(config: Config, guard: Guard | None = None) -> Redis:
    return open_blocking_redis(config, name="bell", block_seconds=1, guard=guard)


Open = Callable[[Config], Redis]


@pytest.fixture(params=[shared, alone])
def opened(request: pytest.FixtureRequest) -> Open:
    way: Open = request.param
    return way


def lent(client: Redis) -> set[Any]:
    """The connections of the pool that are in use, or of which one is the client's own."""
    pool = client.connection_pool
    return pool._in_use_connections - {client.connection}


async def test_a_command_is_answered_as_by_redis_py(redis_only: Config, opened: Open) -> None:
    async with opened(redis_only) as client:
        commands = SingleCommands(client)
        assert await commands.send("SET", "key", b"\x00\xff") == b"OK"
        assert await commands.send("GET", b"key") == b"\x00\xff"
        assert await commands.send("GET", "missing") is None
        assert await commands.send("RPUSH", "list", 1, 2.5, "\u00fc") == 3
        assert await commands.send("LRANGE", "list", 0, -1) == [b"1", b"2.5", b"\xc3\xbc"]
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            await commands.send("GET", "list")
        assert await commands.send("GET", "key") == await client.get("key")
        assert lent(client) == set()


async def test_a_reply_may_be_large_but_no_value(redis_only: Config, opened: Open) -> None:
    async with opened(redis_only) as client:
        commands = SingleCommands(client)
        many = ["x" * 100] * 3000
        await client.rpush("list", *many)
        assert await commands.send("LRANGE", "list", 0, -1) == [value.encode() for value in many]
        await client.set("key", "x" * 3 * VALUE_BYTES)
        with pytest.raises(TooLarge):
            await commands.send("GET", "key")
        assert await commands.send("STRLEN", "key") == 3 * VALUE_BYTES


@pytest.mark.parametrize(
    ("reply", "raised", "connections"),
    [
        (b"-READONLY You can't write against a read only replica.\r\n", RedisError, 2),
        (b"-LOADING Redis is loading the dataset in memory\r\n", BusyLoadingError, 2),
        (b"-UNBLOCKED force unblock from blocking operation\r\n", ResponseError, 2),
        (b"-OOM command not allowed when used memory > 'maxmemory'.\r\n", ResponseError, 1),
        (b"-WRONGTYPE Operation against a key\r\n", ResponseError, 1),
        (b"-ERR max number of clients reached\r\n", RedisConnectionError, 2),
        (b"nonsense\r\n", RedisError, 2),
        (b"$-1\r\n:1\r\n", None, 2),  # a reply that no command has asked for
    ],
)
async def test_a_reply_decides_whether_the_connection_stays(
    opened: Open, reply: bytes, raised: type[Exception] | None, connections: int
) -> None:
    server = Answers(reply, b"+second\r\n")
    async with server.running() as config, opened(config) as client:
        commands = SingleCommands(client)
        if raised is None:
            assert await commands.send("GET", "x") is None
        else:
            with pytest.raises(raised):
                await commands.send("GET", "x")
        assert await commands.send("GET", "x") == b"second"
        assert server.connections == connections
        assert lent(client) == set()


async def test_one_answer_condemns_the_connections_of_both_ways() -> None:
    server, guard = Answers(b"-READONLY it is a replica\r\n"), Guard()
    async with (
        server.running() as config,
        shared(config, guard) as client,
        alone(config, guard) as bell,
    ):
        await asyncio.gather(client.set("x", "1"), SingleCommands(bell).send("SET", "x", "1"))
        with pytest.raises(RedisError):
            await SingleCommands(client).send("GET", "x")
        await asyncio.gather(client.set("x", "1"), SingleCommands(bell).send("SET", "x", "1"))
        assert server.connections == 4


async def test_a_command_that_is_cancelled_leaves_no_reply_behind(opened: Open) -> None:
    server = Answers()
    async with server.running() as config, opened(config) as client:
        commands = SingleCommands(client)
        await commands.send("SET", "x", "1")
        server.asked.clear()
        waiting = asyncio.create_task(commands.send("GET", "x"))
        await server.asked.wait()
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        server.replies.append(b"+mine\r\n")
        assert await commands.send("GET", "x") == b"mine"
        assert server.connections == 2
        assert lent(client) == set()


async def test_a_reply_that_does_not_come_is_given_up_after_the_time_out(opened: Open) -> None:
    """Also if the timer was set by an earlier command, and rings too early for this one."""
    server = Answers(b"+first\r\n")
    async with server.running() as config, opened(config) as client:
        commands = SingleCommands(client)
        client.connection_pool.connection_kwargs["socket_timeout"] = 0.3
        loop = asyncio.get_running_loop()
        assert await commands.send("GET", "x") == b"first"
        await asyncio.sleep(0.2)
        began = loop.time()
        with pytest.raises(RedisTimeoutError):
            await commands.send("GET", "x")
        assert loop.time() - began >= 0.29
        server.replies.append(b"+third\r\n")
        assert await commands.send("GET", "x") == b"third"
        assert server.connections == 2


async def test_a_connection_that_the_server_closed_is_replaced_before_the_command(
    redis_only: Config, proxy_to: ProxyTo, opened: Open
) -> None:
    assert redis_only.redis_url is not None
    proxy = await proxy_to(redis_only.redis_url)
    async with opened(Config(redis_url=proxy.url)) as client:
        commands = SingleCommands(client)
        await commands.send("SET", "x", "1")
        pool = client.connection_pool
        own: Any = client.connection or pool._available_connections[0]
        proxy.cut()
        await until(lambda: not own._is_sound())
        assert await commands.send("GET", "x") == b"1"


async def test_more_callers_than_connections_all_get_a_turn(redis_only: Config) -> None:
    async with shared(redis_only) as client:
        pool, commands = client.connection_pool, SingleCommands(client)
        assert isinstance(pool, SharedPool)
        pool.max_connections = 2
        both = [
            *(commands.send("INCR", "counter") for _ in range(50)),
            *(client.incr("counter") for _ in range(50)),
        ]
        assert sorted(await asyncio.gather(*both)) == [*range(1, 101)]
        assert lent(client) == set()
        assert len(pool._available_connections) == 2


async def test_a_client_of_another_class_sends_for_itself(redis_only: Config) -> None:
    class Counting(Redis):
        sent = 0

        async def execute_command(self, *args: Any, **options: Any) -> Any:
            self.sent += 1
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    async with shared(redis_only) as client:
        own = Counting(connection_pool=client.connection_pool)
        assert await SingleCommands(own).send("PING")
        assert own.sent == 1


async def test_a_connection_exchanges_only_whole_commands(redis_only: Config) -> None:
    async with shared(redis_only) as client:
        await client.ping()
        (connection,) = client.connection_pool._available_connections
        assert isinstance(connection, Guarded)
        words: Any = ("ECHO", "a")
        assert await connection.exchange(pack_command(words)) == b"a"
