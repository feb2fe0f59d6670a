"""Redis commands are sent once, and the Postgres pool recovers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import psycopg
import pytest
import redis
from redis.asyncio import Redis

from leaseq.config import Config
from leaseq.connections.postgres import SESSION, open_pool, session_settings
from leaseq.connections.redis import open_blocking_redis, open_redis
from leaseq.embedded import PostgresServer, ValkeyServer
from leaseq.embedded.processes import children
from leaseq.errors import ConfigInvalid, ServerUnreachable
from leaseq_chaos.pace import Pace
from support.servers import free_port


class SilentServer:
    """Speaks just enough RESP to be connected to; counts BLMOVE, and either hangs up on it or never
    answers."""

    def __init__(self, *, hang_up: bool) -> None:
        self.hang_up = hang_up
        self.moves = 0
        self.connections = 0
        self.moved_twice = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while words := await _command(reader):
                if words[0].upper() != b"BLMOVE":
                    writer.write(b"+OK\r\n")
                    continue
                self.moves += 1
                if self.moves == 2:
                    self.moved_twice.set()
                if self.hang_up:
                    break
        writer.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        async with server:
            yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"


async def _command(reader: asyncio.StreamReader) -> list[bytes]:
    header = await reader.readline()
    words = []
    for _ in range(int(header[1:] or 0)):
        size = int((await reader.readline())[1:])
        words.append((await reader.readexactly(size + 2))[:-2])
    return words


async def lose_a_reply(client: Redis) -> None:
    async with client:
        with pytest.raises((redis.ConnectionError, redis.TimeoutError)):
            await client.blmove("ready", "mine", 1, "LEFT", "RIGHT")


@pytest.mark.parametrize("hang_up", [True, False], ids=["connection lost", "no answer"])
@pytest.mark.parametrize(
    "tempting", ["", "?retry_on_timeout=true", "?retry_on_error=x&max_connections=3&timeout=9"]
)
async def test_a_lost_reply_is_never_asked_for_again(
    hang_up: bool, tempting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leaseq.connections.redis.REPLY_SECONDS", 0.2)
    server = SilentServer(hang_up=hang_up)
    async with server.running() as url:
        config = Config(redis_url=url + tempting)
        await lose_a_reply(open_blocking_redis(config, name="blocking", block_seconds=0.1))
        assert (server.moves, server.connections) == (1, 1)
        await lose_a_reply(open_redis(config, name="general"))
        assert (server.moves, server.connections) == (2, 2)


async def test_the_counting_server_sees_what_redis_py_does_by_default() -> None:
    """The test above can fail: a client as redis-py makes it sends the same BLMOVE again,
    unasked."""
    server = SilentServer(hang_up=True)
    async with (
        server.running() as url,
        Redis(host="127.0.0.1", port=urlsplit(url).port or 0) as client,
    ):
        lone_call = asyncio.ensure_future(client.blmove("ready", "mine", 1, "LEFT", "RIGHT"))
        await asyncio.wait_for(server.moved_twice.wait(), 10)
        lone_call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await lone_call


async def test_a_block_may_last_as_long_as_it_was_announced(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leaseq.connections.redis.REPLY_SECONDS", 0.3)
    async with open_blocking_redis(
        Config(redis_url=redis_url), name="worker-1", block_seconds=1
    ) as client:
        assert await client.client_getname() == "worker-1"
        assert await client.blmove("ready", "mine", 1, "LEFT", "RIGHT") is None


async def test_the_clients_work_again_when_redis_is_back(own_valkey: ValkeyServer) -> None:
    config = Config(redis_url=own_valkey.url)
    async with (
        open_redis(config, name="general") as general,
        open_blocking_redis(config, name="blocking", block_seconds=1) as blocking,
    ):
        await general.rpush("ready", "a")
        own_valkey.kill()
        for client in (general, blocking):
            with pytest.raises(redis.ConnectionError):
                await client.llen("ready")
        own_valkey.start()
        assert await general.llen("ready") == 1
        assert await blocking.blmove("ready", "mine", 1, "LEFT", "RIGHT") == b"a"


async def test_unix_sockets_work(own_postgres: PostgresServer, own_valkey: ValkeyServer) -> None:
    config = Config(postgres_url=own_postgres.socket_url, redis_url=own_valkey.socket_url)
    async with open_redis(config, name="general") as client:
        assert await client.set("x", 1) is True
        assert await client.get("x") == b"1"
    async with await open_pool(config, name="api", max_size=1) as pool, pool.connection() as conn:
        assert conn.info.host.startswith("/")


async def test_sessions_are_set_up(config: Config) -> None:
    strange = msgspec.structs.replace(
        config, postgres_url=f"{config.postgres_url}?options=-c%20synchronous_commit%3Doff"
    )
    async with (
        await open_pool(strange, name="leaseq-api", max_size=2) as pool,
        pool.connection() as conn,
    ):
        assert conn.autocommit
        shown = {}
        for name in (
            "synchronous_commit",
            "statement_timeout",
            "lock_timeout",
            "TimeZone",
            "application_name",
        ):
            row = await (await conn.execute(f"show {name}".encode())).fetchone()
            assert row is not None
            shown[name] = row[0]
    assert shown == {
        "synchronous_commit": "on",
        "statement_timeout": "5s",
        "lock_timeout": "2500ms",
        "TimeZone": "UTC",
        "application_name": "leaseq-api",
    }


@pytest.mark.parametrize(
    ("seconds", "lock"), [(60.0, "5s"), (10.0, "5s"), (0.5, "250ms"), (0.0001, "1ms")]
)
async def test_a_wait_for_a_lock_is_the_shorter_one(
    config: Config, seconds: float, lock: str
) -> None:
    """And never zero, which would be no limit at all."""
    settings = session_settings(seconds)
    async with await psycopg.AsyncConnection.connect(
        str(config.postgres_url), autocommit=True
    ) as conn:
        await conn.execute(SESSION, settings | {"statement_timeout": "5s"})
        assert await (await conn.execute("show lock_timeout")).fetchone() == (lock,)


async def test_row_that_stays_locked_is_reported_as_locked(config: Config) -> None:
    """Not as a statement that was too slow, for which something else would have to be done."""
    hasty = msgspec.structs.replace(config, statement_timeout_seconds=0.4)
    async with (
        await open_pool(hasty, name="leaseq test", max_size=2) as pool,
        pool.connection() as holder,
        holder.transaction(),
        pool.connection() as waiter,
    ):
        await holder.execute("insert into leaseq.queues (name) values ('q')")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            await waiter.execute("insert into leaseq.queues (name) values ('q')")


async def test_the_pool_heals_after_a_restart(own_postgres: PostgresServer, pace: Pace) -> None:
    """Neither the connections that died while idle nor the outage's length are the callers' trouble
    (docs/pitfalls.md#p23)."""
    async with await open_pool(
        Config(postgres_url=own_postgres.url), name="worker", max_size=4
    ) as pool:
        await asyncio.gather(*(_hold_briefly(pool.connection()) for _ in range(4)))
        own_postgres.stop("immediate")
        await asyncio.to_thread(own_postgres.start)
        began = time.monotonic()
        await _hold_briefly(pool.connection())
        # one dead connection revealed the other three
        assert time.monotonic() - began < 0.9 * pace.slowness
        await asyncio.gather(*(_hold_briefly(pool.connection()) for _ in range(8)))
        assert time.monotonic() - began < 2 * pace.slowness


async def test_the_pool_heals_after_an_outage_in_which_everybody_asked(
    own_postgres: PostgresServer, pace: Pace
) -> None:
    config = Config(postgres_url=own_postgres.url, statement_timeout_seconds=0.4)
    async with await open_pool(config, name="worker", max_size=4) as pool:
        await asyncio.gather(*(_hold_briefly(pool.connection()) for _ in range(4)))
        own_postgres.kill()
        for _ in range(8):  # long enough for an exponential back-off to become lazy
            with pytest.raises((psycopg.OperationalError, TimeoutError)):
                await _hold_briefly(pool.connection())
        await asyncio.to_thread(own_postgres.start)
        began = time.monotonic()
        await _hold_briefly(pool.connection(timeout=60))
        assert time.monotonic() - began < 2 * pace.slowness


async def test_a_frozen_postgres_does_not_keep_the_caller(
    own_postgres: PostgresServer, pace: Pace
) -> None:
    """The kernel keeps a frozen server's connections alive, and its own time-outs are frozen with
    it (docs/pitfalls.md#p22)."""
    async with await open_pool(
        Config(postgres_url=own_postgres.url), name="worker", max_size=2
    ) as pool:
        await _hold_briefly(pool.connection())
        pid = own_postgres.pid
        assert pid is not None
        frozen = [pid, *children(pid)]
        for each in frozen:
            os.kill(each, signal.SIGSTOP)
        try:
            began = time.monotonic()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await _hold_briefly(pool.connection())
            assert time.monotonic() - began < 2 * pace.slowness
        finally:
            for each in frozen:
                os.kill(each, signal.SIGCONT)
        await _hold_briefly(pool.connection())


async def _hold_briefly(
    connection: contextlib.AbstractAsyncContextManager[psycopg.AsyncConnection[object]],
) -> None:
    async with connection as conn:
        await conn.execute("select pg_sleep(0.02)")


async def test_absent_postgres_is_reported_immediately_without_its_url() -> None:
    with pytest.raises(ServerUnreachable) as caught:
        await open_pool(
            Config(postgres_url=f"postgresql://me:s3cret@127.0.0.1:{free_port()}/x"),
            name="api",
            max_size=1,
        )
    assert str(caught.value) == "Postgres cannot be reached: Connection refused"


async def test_a_pool_may_open_before_its_server(own_postgres: PostgresServer) -> None:
    own_postgres.stop()
    async with await open_pool(
        Config(postgres_url=own_postgres.url), name="api", max_size=2, wait=False
    ) as pool:
        await asyncio.to_thread(own_postgres.start)
        await _hold_briefly(pool.connection())


async def test_a_missing_url_is_not_a_default(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="LEASEQ_POSTGRES_URL is not set"):
        await open_pool(Config(data_dir=tmp_path), name="api", max_size=1)
    with pytest.raises(ConfigInvalid, match="LEASEQ_REDIS_URL is not set"):
        _ = open_redis(Config(data_dir=tmp_path), name="api")
