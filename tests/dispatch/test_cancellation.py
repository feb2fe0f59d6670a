"""A Redis command never loses a cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from leaseq.config import Config
from leaseq.connections.redis import open_redis


@pytest.fixture
async def client(config: Config) -> AsyncIterator[Redis]:
    async with open_redis(config, name="leaseq test") as opened:
        await opened.ping()
        yield opened


@pytest.fixture
def connection(client: Redis) -> AbstractConnection:
    """The one connection that the client has so far, and uses next."""
    (only,) = client.connection_pool._available_connections
    return only


async def test_a_cancellation_at_the_moment_when_a_command_is_written_counts(
    client: Redis, connection: AbstractConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = connection._send_packed_command
    sending: list[asyncio.Task[None]] = []

    async def write_and_cancel(command: list[bytes]) -> None:
        await write(command)
        asyncio.get_running_loop().call_soon(sending[0].cancel)

    async def send() -> None:
        await client.set("a", "b")
        await client.set("a", "c")

    monkeypatch.setattr(connection, "_send_packed_command", write_and_cancel)
    sending.append(asyncio.create_task(send()))
    await asyncio.wait(sending)
    assert sending[0].cancelled()


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (OSError("it broke"), RedisConnectionError),
        (TimeoutError(), RedisTimeoutError),
        (asyncio.CancelledError(), asyncio.CancelledError),
    ],
)
async def test_a_connection_is_not_used_again_after_a_write_that_failed(
    client: Redis,
    connection: AbstractConnection,
    monkeypatch: pytest.MonkeyPatch,
    raised: BaseException,
    told: type[BaseException],
) -> None:
    async def fail(command: list[bytes]) -> None:
        raise raised

    with monkeypatch.context() as patched:
        patched.setattr(connection, "_send_packed_command", fail)
        with pytest.raises(told):
            await connection.send_command("GET", "a")
    assert not connection.is_connected
    assert await client.ping()


async def test_a_write_that_hangs_ends_with_the_time_out(
    client: Redis, connection: AbstractConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(command: list[bytes]) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(connection, "_send_packed_command", hang)
    connection.socket_timeout = 0.01
    with pytest.raises(RedisTimeoutError):
        await connection.send_command("GET", "a")
    assert not connection.is_connected
