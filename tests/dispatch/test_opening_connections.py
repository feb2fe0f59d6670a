"""A connection that is closed while it is being opened leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from leaseq.config import Config
from leaseq.connections.redis import open_blocking_redis, open_redis
from leaseq.connections.single_commands import SingleCommands
from support.redis_wire import read_command
from support.worker import until

GREETING = [b"CLIENT", b"SELECT"]  # the handshake of a client with a name and a database


class Halting:
    """Speaks enough RESP to be connected to. Holds the answer to `halts_at` of its first connection
    back until `go_on`. Answers GET with the number of the connection."""

    def __init__(self, halts_at: bytes) -> None:
        self.halted, self.go_on = asyncio.Event(), asyncio.Event()
        self.count = self.open = 0
        self.seen: list[bytes] = []
        self._halts_at = halts_at

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.count += 1
        self.open += 1
        number = self.count
        try:
            while words := await read_command(reader):
                self.seen.append(words[0])
                if number == 1 and words[0] == self._halts_at:
                    self.halted.set()
                    await self.go_on.wait()
                writer.write(b"+%d\r\n" % number if words[0] == b"GET" else b"+OK\r\n")
        except ConnectionError:
            pass  # the client has gone
        finally:
            self.open -= 1
            writer.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Config]:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        async with server:
            yield Config(redis_url=f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/3")


def shared(config: Config) -> Redis:
    return open_redis(config, name="general")


def alone(config: Config) -> Redis:
    return open_blocking_redis(config, name="bell", block_seconds=1)


def by_command(client: Redis) -> Any:
    return SingleCommands(client).send("GET", "x")


def by_redis_py(client: Redis) -> Any:
    return client.get("x")


each_way = pytest.mark.parametrize(
    ("opened", "get"),
    [(shared, by_command), (shared, by_redis_py), (alone, by_command)],
    ids=["shared", "pipeline", "alone"],
)


@each_way
@pytest.mark.parametrize("halts_at", GREETING)
async def test_a_cancelled_handshake_is_begun_again_on_a_new_connection(
    opened: Callable[[Config], Redis], get: Callable[[Redis], Any], halts_at: bytes
) -> None:
    """Otherwise the next command goes to database 0, and its answer is that of the handshake."""
    server = Halting(halts_at)
    async with server.running() as config, aclosing(opened(config)) as client:
        opening = asyncio.ensure_future(get(client))
        await server.halted.wait()
        opening.cancel()
        await asyncio.wait([opening])
        assert opening.cancelled()
        server.go_on.set()
        server.seen.clear()
        assert await get(client) == b"2"
        assert server.seen == [*GREETING, b"GET"]
        await until(lambda: server.open == 1)


@each_way
@pytest.mark.parametrize("halts_at", GREETING)
async def test_a_client_closed_during_a_handshake_is_not_connected_again(
    opened: Callable[[Config], Redis], get: Callable[[Redis], Any], halts_at: bytes
) -> None:
    server = Halting(halts_at)
    async with server.running() as config:
        client = opened(config)
        opening = asyncio.ensure_future(get(client))
        await server.halted.wait()
        await client.aclose()
        server.go_on.set()
        with pytest.raises(RedisConnectionError):
            await opening
        await until(lambda: server.open == 0)
        assert (server.count, b"GET" in server.seen) == (1, False)


@each_way
async def test_a_client_closed_before_its_socket_is_connected_closes_it(
    opened: Callable[[Config], Redis],
    get: Callable[[Redis], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, connect = Halting(b""), asyncio.open_connection
    connecting, go_on = asyncio.Event(), asyncio.Event()

    async def slow(*args: Any, **options: Any) -> Any:
        connecting.set()
        await go_on.wait()
        return await connect(*args, **options)

    async with server.running() as config:
        monkeypatch.setattr(asyncio, "open_connection", slow)
        client = opened(config)
        opening = asyncio.ensure_future(get(client))
        await connecting.wait()
        await client.aclose()
        go_on.set()
        with pytest.raises(RedisConnectionError):
            await opening
        await until(lambda: server.open == 0)
        assert b"GET" not in server.seen


async def test_a_closed_client_opens_nothing() -> None:
    """A command of a task that outlives its engine fails. It leaves no connection behind."""
    server = Halting(b"")
    async with server.running() as config:
        client = shared(config)
        assert await by_command(client) == b"1"
        await client.aclose()
        for get in (by_command, by_redis_py):
            with pytest.raises(RedisConnectionError):
                await get(client)
        assert server.count == 1
        await until(lambda: server.open == 0)


async def test_a_caller_that_waits_for_a_connection_gets_none_of_a_closed_client() -> None:
    server = Halting(b"SELECT")
    async with server.running() as config:
        client = shared(config)
        client.connection_pool.max_connections = 1
        opening, waiting = (asyncio.ensure_future(by_command(client)) for _ in range(2))
        await server.halted.wait()
        await client.aclose()
        server.go_on.set()
        for call in (opening, waiting):
            with pytest.raises(RedisConnectionError):
                await call
        assert server.count == 1
        await until(lambda: server.open == 0)
