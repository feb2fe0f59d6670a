"""The reap ends every session of a worker's handlers, and no other."""

from __future__ import annotations

import asyncio

import pytest

from leaseq import Context, Leaseq
from leaseq.config import Config
from leaseq.observability.telemetry import recorded
from leaseq.operations.recover import Death
from support.client import Client
from support.worker import QUEUE, until, working

RENAMES = [
    "set application_name = 'mine'",
    "set local application_name = ''",
    "select set_config('application_name', 'leaseq', false)",
    "reset application_name",
]


@pytest.mark.parametrize("statement", RENAMES)
async def test_a_session_is_found_under_any_name(
    config: Config, client: Client, statement: str
) -> None:
    app, renamed, reaped = Leaseq(), asyncio.Event(), asyncio.Event()

    @app.task
    async def renames(ctx: Context) -> None:
        async with ctx.transaction() as tx:
            await tx.execute("insert into effects values (%s, 1, pg_backend_pid())", (ctx.task_id,))
            await tx.execute(statement.encode())
            renamed.set()
            await reaped.wait()

    async with working(config, app) as worker:
        await client.submit("renames")
        await until(renamed.is_set, seconds=30)
        with recorded() as events:
            worker_id = worker.worker_id
            worker.stop_intake()  # a worker that pulls on would take back what the reap moves
            await client.engine.recovery.recover(
                Death(worker_id=worker_id, queues=[QUEUE], reason="killed")
            )
        (report,) = [event.fields for event in events if event.name == "worker.reaped"]
        assert report["sessions_ended"] >= 1
        await until(lambda: _no_transaction(client))
        reaped.set()


async def _no_transaction(client: Client) -> bool:
    query = "select 1 from pg_stat_activity where datname = current_database() and state = 'idle in transaction'"
    return not await client.rows(query)


async def test_a_later_session_with_the_same_pid_is_left_alone(
    config: Config, client: Client
) -> None:
    workers = client.engine.stores.workers
    await workers.open_worker("dead", host="here", pid=1, queues=[QUEUE], version="0")
    async with client.engine.stores.tasks._session.pool.connection() as conn:
        session = await workers.identify_session(conn)
        assert await workers.register_session("dead", session)
        await client.rows(
            "update leaseq.sessions set backend_start = backend_start - interval '1 second'"
        )
        assert (await workers.end_sessions("dead", application_name="nobody's")).ended == 0
        assert await workers.register_session("dead", session), (
            "the same pid again: the later session counts"
        )
        await client.rows("select 1")
        assert (await workers.end_sessions("dead", application_name="nobody's")).ended == 1


async def test_a_closed_worker_registers_no_session(config: Config, client: Client) -> None:
    """Or a session that opens after the reap has looked would keep its locks."""
    workers = client.engine.stores.workers
    await workers.open_worker("dead", host="here", pid=1, queues=[QUEUE], version="0")
    await workers.close_worker("dead", reason="killed")
    async with client.engine.stores.tasks._session.pool.connection() as conn:
        assert not await workers.register_session("dead", await workers.identify_session(conn))
    assert await client.rows("select count(*) from leaseq.sessions") == [(0,)]


async def test_sessions_that_have_ended_are_forgotten(config: Config, client: Client) -> None:
    workers = client.engine.stores.workers
    await workers.open_worker("alive", host="here", pid=1, queues=[QUEUE], version="0")
    await client.rows(
        "insert into leaseq.sessions select 'alive', 2000000000 + n, now() from generate_series(1, 50) as n"
    )
    async with client.engine.stores.tasks._session.pool.connection() as conn:
        assert await workers.register_session("alive", await workers.identify_session(conn))
    assert await client.rows("select count(*) from leaseq.sessions") == [(1,)]
