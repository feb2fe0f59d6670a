"""A statement that continues after its cancellation was answered.

The statement here ignores each cancellation. Others answer one late: geometry, large numerics,
PL/Python.
"""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from leaseq import Context, Leaseq
from leaseq.config import Config
from leaseq.connections.postgres import open_pool
from leaseq.connections.postgres_connection import FastCancelConnection
from leaseq.connections.primary import primary_at
from leaseq.model import Outcome, State
from leaseq.observability.telemetry import recorded
from support.client import Client
from support.worker import until, working

Plain = psycopg.AsyncConnection[tuple[object, ...]]

PATIENCE = 20.0
DEAF = """
do $$ begin
    for i in 1..300 loop
        begin
            perform pg_sleep(1);
        exception when query_canceled then null;
        end;
    end loop;
end $$
"""


@pytest.fixture(autouse=True)
def quiet_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A neighbour that receives data now and then is never left: these have received nothing for
    long."""
    monkeypatch.setattr("leaseq.connections.primary.RECENT_SECONDS", 0.0)


async def is_running(plain: Plain, pid: int) -> bool:
    return bool(
        await (await plain.execute("select from pg_stat_activity where pid = %s", [pid])).fetchall()
    )


async def run_deaf(conn: FastCancelConnection) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await conn.execute(DEAF)


async def test_neighbours_keep_their_connections_and_its_session_ends(
    config: Config, plain: Plain
) -> None:
    pool = await open_pool(config, name="leaseq test", max_size=2)
    try:
        with recorded() as events:
            neighbour, conn = await pool.getconn(), await pool.getconn()
            await neighbour.execute("begin")
            pid = conn.identity.pid
            assert await is_running(plain, pid)
            await run_deaf(conn)
            assert conn.closed
            await until(
                lambda: any(event.name == "ledger.abandoned" for event in events), seconds=PATIENCE
            )

            async def has_ended() -> bool:
                return not await is_running(plain, pid)

            await until(has_ended, seconds=PATIENCE)
            assert not neighbour.left
            await neighbour.execute("select 1")
            await neighbour.execute("commit")
            assert not [event for event in events if event.name == "ledger.left"]
            for given in (neighbour, conn):
                await pool.putconn(given)
        # Its place in the pool is free again.
        for fresh in [await pool.getconn(), await pool.getconn()]:
            await fresh.execute("select 1")
            await pool.putconn(fresh)
    finally:
        await pool.close()


async def test_a_server_that_takes_no_new_connection_either_is_left_by_all(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang() -> FastCancelConnection:
        raise psycopg.errors.ConnectionTimeout

    pool = await open_pool(config, name="leaseq test", max_size=2)
    try:
        neighbour, conn = await pool.getconn(), await pool.getconn()
        monkeypatch.setattr(conn, "connect_again", hang)
        await run_deaf(conn)
        await until(lambda: bool(neighbour.left), seconds=PATIENCE)
        for given in (neighbour, conn):
            await pool.putconn(given)
    finally:
        await pool.close()
    assert primary_at(str(config.postgres_url)) is neighbour.primary


async def test_its_attempt_is_charged_and_an_idle_transaction_beside_it_commits(
    config: Config, client: Client
) -> None:
    app, ended = Leaseq(), asyncio.Event()

    @app.task
    async def neighbour(ctx: Context) -> int:
        async with ctx.transaction() as tx:
            await tx.execute("select 1")
            await ended.wait()
        return ctx.attempt

    @app.task
    async def deaf(ctx: Context) -> None:
        async with ctx.transaction() as tx:
            await tx.execute(DEAF)

    with recorded() as events:
        async with working(config, app):
            beside = await client.submit("neighbour")
            await until(
                lambda: any(event.name == "attempt.started" for event in events), seconds=PATIENCE
            )
            task = await client.ended(
                await client.submit("deaf", options={"max_attempts": 1, "timeout_seconds": 0.5}),
                timeout=PATIENCE,
            )
            await until(
                lambda: any(event.name == "ledger.abandoned" for event in events), seconds=PATIENCE
            )
            ended.set()
            other = await client.ended(beside, timeout=PATIENCE)
    assert (task.state, task.attempt) == (State.FAILED, 1)
    assert (
        next(event.fields["outcome"] for event in events if event.name == "attempt.settled")
        == Outcome.TIMED_OUT
    )
    assert (other.state, other.attempt) == (State.SUCCESS, 1)
    assert not [event for event in events if event.name == "ledger.left"]
