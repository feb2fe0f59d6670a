"""A reader that stays registered between statements of the hot path."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic

import psycopg
import pytest
import uvloop
from msgspec.structs import replace
from psycopg.pq import TransactionStatus

from leaseq.config import Config
from leaseq.connections.postgres import open_pool
from leaseq.connections.postgres_connection import Connection, FastCancelConnection
from leaseq.connections.postgres_pool import Pool
from leaseq.embedded import PostgresServer
from leaseq.errors import ServerUnreachable
from leaseq.ledger.prepared import PREPARED, Prepared, run_prepared
from leaseq.ledger.session import POSITIONAL, Session
from leaseq_chaos.pace import Pace
from support.ledger import until_blocked
from support.proxy import READY_FOR_QUERY, ProxyTo
from support.servers import at, prepare
from support.worker import until

CLAIM = PREPARED["claim_tasks"]
NOTHING = {"ids": "{}", "worker_id": "no worker"}


def statement(name: str, text: str) -> Prepared:
    """A statement for tests, prepared as those of the hot path are."""
    made = Prepared("claim_tasks")
    made.name, made.text, made.params = name.encode(), text.encode(), []
    return made


async def ask(conn: FastCancelConnection, text: str) -> list[tuple[object, ...]]:
    return await run_prepared(conn, statement(text, text), {})


async def usable(conn: FastCancelConnection) -> bool:
    """Whether it answers in both ways, in turn."""
    for _ in range(2):
        assert await ask(conn, "select 1") == [(1,)]
        assert await (await conn.execute("select 2")).fetchone() == (2,)
    return True


def test_rows_of_statements_that_are_sent_by_name_are_read_by_position() -> None:
    """In the same way on a connection of a caller, where the cursor sends them."""
    assert set(PREPARED) <= POSITIONAL


@asynccontextmanager
async def connected(url: str | None) -> AsyncIterator[FastCancelConnection]:
    conn = await FastCancelConnection.connect(str(url), autocommit=True)
    try:
        yield conn
    finally:
        await conn.close()


async def test_both_ways_to_send_take_turns(config: Config) -> None:
    async with connected(config.postgres_url) as conn:
        for _ in range(20):
            assert await usable(conn)


async def test_answer_larger_than_a_socket_holds_arrives(config: Config) -> None:
    async with connected(config.postgres_url) as conn:
        for _ in range(3):
            ((text,),) = await ask(conn, "select repeat('x', 5000000)")
            assert len(str(text)) == 5_000_000


async def test_statement_larger_than_a_socket_holds_is_sent(
    config: Config, proxy_to: ProxyTo
) -> None:
    """The rest is sent when the server reads again."""
    proxy = await proxy_to(str(config.postgres_url))
    large = statement("large", "select length($1::text)")
    large.params = ["text"]
    async with connected(proxy.url) as conn:
        assert await run_prepared(conn, large, {"text": "x"}) == [(1,)]
        proxy.freeze()
        sent = asyncio.create_task(run_prepared(conn, large, {"text": "x" * 50_000_000}))
        await asyncio.sleep(0)
        assert not sent.done()
        proxy.thaw()
        assert await sent == [(50_000_000,)]
        assert await usable(conn)


async def test_notice_beside_an_answer_is_noted(config: Config) -> None:
    seen: list[str | None] = []
    async with connected(config.postgres_url) as conn:
        conn.add_notice_handler(lambda notice: seen.append(notice.message_primary))
        await conn.execute(
            "create function pg_temp.warn() returns int language plpgsql as "
            "$$begin raise warning 'wait for synchronous replication'; return 1; end$$"
        )
        assert await ask(conn, "select pg_temp.warn()") == [(1,)]
        assert seen == ["wait for synchronous replication"]
        assert conn.unreplicated


async def test_news_while_idle_is_left_to_the_check(config: Config, plain: Connection) -> None:
    async with await open_pool(config, name="leaseq test", max_size=1) as pool:
        session = Session(pool, deadline_seconds=10)
        await session.fetch("claim_tasks", NOTHING)
        conn = pool.take()
        assert conn is not None
        pid = conn.info.backend_pid
        assert pool.put_back(conn)
        await plain.execute("select pg_terminate_backend(%s)", [pid])
        await until(conn.has_news)
        assert not conn.closed, "nothing has read the news"
        assert pool.take() is None
        assert await session.fetch("claim_tasks", NOTHING) == []
        assert pool.get_stats()["connections_lost"] == 1


async def test_cancelled_prepare_is_made_good(config: Config, plain: Connection) -> None:
    await plain.execute("create table held (n int)")
    async with connected(config.postgres_url) as conn, plain.transaction():
        await plain.execute("lock table held in access exclusive mode")
        waiting = asyncio.create_task(ask(conn, "select n from held"))  # the parser waits
        async with connected(config.postgres_url) as watching:
            await until_blocked(watching, waiting)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert conn.info.transaction_status == TransactionStatus.IDLE
        assert conn.prepared == set()
        assert await usable(conn)
    async with connected(config.postgres_url) as conn:
        assert await ask(conn, "select n from held") == []


async def test_statement_that_is_already_prepared_is_used(config: Config) -> None:
    async with connected(config.postgres_url) as conn:
        assert await ask(conn, "select 1") == [(1,)]
        conn.prepared.clear()  # as after a caller that was cancelled while the answer came
        assert await ask(conn, "select 1") == [(1,)]


@pytest.mark.parametrize("gone", ["discard all", "deallocate all"])
async def test_statement_that_was_deallocated_is_prepared_again(config: Config, gone: str) -> None:
    async with connected(config.postgres_url) as conn:
        assert await run_prepared(conn, CLAIM, NOTHING) == []
        await conn.execute(gone.encode())
        assert await run_prepared(conn, CLAIM, NOTHING) == []


async def test_cancellation_while_half_of_the_answer_is_there(
    config: Config, proxy_to: ProxyTo
) -> None:
    proxy = await proxy_to(str(config.postgres_url))
    async with connected(proxy.url) as conn:
        rows = "select repeat('x', 1000), pg_sleep(0.001) from generate_series(1, 100000)"
        waiting = asyncio.create_task(ask(conn, rows))
        await until(lambda: proxy.received_bytes > 100_000)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await usable(conn)


async def test_time_out_cancels_the_statement(config: Config) -> None:
    async with connected(config.postgres_url) as conn:
        await ask(conn, "select 1")
        sleeping = statement("sleeping", "select pg_sleep(60)")
        with pytest.raises(TimeoutError):
            await run_prepared(conn, sleeping, {}, deadline=asyncio.get_running_loop().time() + 0.2)
        assert await usable(conn)


async def test_silent_server_is_abandoned_soon(
    config: Config, proxy_to: ProxyTo, pace: Pace
) -> None:
    proxy = await proxy_to(str(config.postgres_url))
    async with connected(proxy.url) as conn:
        assert await usable(conn)
        proxy.freeze()
        began = monotonic()
        with pytest.raises(TimeoutError):
            await run_prepared(
                conn, CLAIM, NOTHING, deadline=asyncio.get_running_loop().time() + 0.1
            )
        assert monotonic() - began < 3 * pace.slowness
        assert conn.closed


async def test_left_connection_ends_its_wait(config: Config) -> None:
    async with connected(config.postgres_url) as conn:
        await ask(conn, "select 1")
        waiting = asyncio.create_task(ask(conn, "select pg_sleep(60)"))
        await until(lambda: b"select pg_sleep(60)" in conn.prepared)
        conn.leave("a newer timeline is known")
        with pytest.raises(TimeoutError):
            await waiting
        assert conn.closed


async def close(conn: FastCancelConnection, plain: Connection) -> None:
    await conn.close()


async def terminate(conn: FastCancelConnection, plain: Connection) -> None:
    await plain.execute("select pg_terminate_backend(%s)", [conn.info.backend_pid])


@pytest.mark.parametrize("end", [close, terminate])
async def test_connection_that_ends_meanwhile_is_an_error(
    config: Config,
    plain: Connection,
    end: Callable[[FastCancelConnection, Connection], Awaitable[None]],
) -> None:
    async with connected(config.postgres_url) as conn:
        await ask(conn, "select 1")
        waiting = asyncio.create_task(ask(conn, "select pg_sleep(60)"))
        await until(lambda: b"select pg_sleep(60)" in conn.prepared)
        await end(conn, plain)
        with pytest.raises(psycopg.OperationalError) as raised:
            await waiting
        assert conn.closed
        assert (raised.type is psycopg.errors.AdminShutdown) == (end is terminate)
        with pytest.raises(psycopg.OperationalError):
            await ask(conn, "select 1")


@pytest.mark.parametrize("until", [b"", READY_FOR_QUERY], ids=["at once", "after the answer"])
async def test_reset_in_the_middle_of_an_answer_is_an_error(
    config: Config, proxy_to: ProxyTo, until: bytes
) -> None:
    proxy = await proxy_to(str(config.postgres_url))
    async with connected(proxy.url) as conn:
        assert await usable(conn)
        proxy.lose_reply(b"claim_tasks", until=until)
        with pytest.raises(psycopg.OperationalError):
            await run_prepared(conn, CLAIM, NOTHING)
        assert conn.closed


async def test_reader_of_a_closed_connection_is_gone(config: Config) -> None:
    """A new connection gets the same file descriptor, and its own bytes."""
    for _ in range(10):
        async with connected(config.postgres_url) as conn:
            assert await ask(conn, "select 1") == [(1,)]
            fd = conn.fileno()
        assert not asyncio.get_running_loop().remove_reader(fd)


async def test_pool_that_closes_waits_for_a_statement_to_return(config: Config) -> None:
    pool = await open_pool(config, name="leaseq test", max_size=2)
    session = Session(pool, deadline_seconds=10)
    await session.fetch("claim_tasks", NOTHING)
    conn = pool.take()
    assert conn is not None
    waiting = asyncio.create_task(ask(conn, "select pg_sleep(0.2) is null"))
    await asyncio.sleep(0)
    await pool.close()
    assert await waiting == [(False,)]
    assert not pool.put_back(conn)
    await pool.putconn(conn)
    assert conn.closed
    with pytest.raises(ServerUnreachable):
        await session.fetch("claim_tasks", NOTHING)


async def test_statement_after_a_restart_gets_a_new_connection(
    own_postgres: PostgresServer, config: Config
) -> None:
    await prepare(own_postgres.url)
    async with await open_pool(at(config, own_postgres.url), name="t", max_size=2) as pool:
        session = Session(pool, deadline_seconds=30)
        await session.fetch("claim_tasks", NOTHING)
        own_postgres.stop("immediate")  # which also keeps the event loop from noticing
        own_postgres.start()
        assert await session.fetch("claim_tasks", NOTHING, idempotent=True) == []


async def test_pool_lends_no_more_than_it_has(config: Config) -> None:
    settings = replace(config, statement_timeout_seconds=2)
    async with await open_pool(settings, name="leaseq test", max_size=2) as pool:
        session = Session(pool, deadline_seconds=10)
        await asyncio.gather(*(session.fetch("claim_tasks", NOTHING) for _ in range(50)))
        assert pool.get_stats()["pool_size"] <= 2
        lent = [conn for _ in range(3) if (conn := pool.take()) is not None]
        assert len(lent) == pool.get_stats()["pool_size"]
        waiting = asyncio.create_task(session.fetch("claim_tasks", NOTHING))
        await until(lambda: bool(pool.get_stats()["requests_waiting"]))
        for conn in lent:
            if not pool.put_back(conn):
                await pool.putconn(conn)  # to the caller that waits
        assert await waiting == []


async def test_drained_pool_takes_no_older_connection_back(pool: Pool) -> None:
    session = Session(pool, deadline_seconds=10)
    await session.fetch("claim_tasks", NOTHING)
    conn = pool.take()
    assert conn is not None
    await pool.drain()
    assert not pool.put_back(conn)
    await pool.putconn(conn)
    assert conn.closed
    assert await session.fetch("claim_tasks", NOTHING) == []


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_two_event_loops_of_a_process_work_in_turn(
    config: Config, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def work(conn: FastCancelConnection | None) -> FastCancelConnection:
        conn = conn or await FastCancelConnection.connect(str(config.postgres_url), autocommit=True)
        assert await usable(conn)
        return conn

    with asyncio.Runner(loop_factory=new_loop) as first:
        conn = first.run(work(None))
        with asyncio.Runner(loop_factory=new_loop) as second:
            second.run(second.run(work(None)).close())
            first.run(work(conn))
    with asyncio.Runner(loop_factory=new_loop) as third:  # the loop of its reader is closed
        third.run(work(conn))
        third.run(conn.close())


async def test_forked_child_takes_nothing_from_its_parent(config: Config) -> None:
    async with connected(config.postgres_url) as conn:
        assert await usable(conn)
        child = os.fork()
        if child == 0:
            os._exit(0)
        assert await asyncio.to_thread(os.waitpid, child, 0) == (child, 0)
        assert await usable(conn)
