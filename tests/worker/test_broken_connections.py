"""Connections that a handler breaks."""

from __future__ import annotations

import asyncio
import os
import signal
from time import monotonic
from typing import Any

import msgspec
import psycopg
import pytest
from msgspec.structs import replace

from leaseq import Context, Fail, Leaseq
from leaseq.config import Config
from leaseq.connections.primary import primary_at
from leaseq.embedded import PostgresServer
from leaseq.errors import Fenced, ServerUnreachable
from leaseq.lifecycle import FREE_CRASHES, hand_back
from leaseq.model import Counts, Ending, Outcome, State, Task, TaskError
from leaseq.observability.telemetry import recorded
from leaseq.operations.open_engine import open_engine
from leaseq.worker.attempt.outages import LOOK_SECONDS, Outages
from support.client import Client
from support.servers import at, prepare
from support.worker import promoting, until, working

TERMINATE = "select pg_terminate_backend(pg_backend_pid())"
INSERT = "insert into effects values (%s, %s, 0)"
LOST = TaskError("server_unreachable", "the server closed the connection", type="OperationalError")


def error_of(task: Task) -> dict[str, Any]:
    assert task.error is not None
    error: dict[str, Any] = msgspec.json.decode(task.error)
    return error


async def break_it(tx: Any, how: str) -> None:
    match how:
        case "idles":
            await tx.execute("set local idle_in_transaction_session_timeout = '100ms'")
            await asyncio.sleep(0.5)
        case "closes the socket":
            tx.pgconn.finish()
        case _:
            try:
                await tx.execute(TERMINATE)
            except psycopg.Error:
                if how == "terminates":
                    raise
                if how == "fails":
                    raise Fail("and that is that") from None


def breaking() -> tuple[Leaseq, dict[str, int]]:
    """Handlers that break the connection of their transaction, or say that it is broken; and how
    often each has run."""
    app = Leaseq()
    runs: dict[str, int] = {}

    @app.task(max_attempts=2)
    async def breaks(ctx: Context, how: str) -> None:
        runs[how] = runs.get(how, 0) + 1
        if how == "says so":
            raise ServerUnreachable
        if how == "says fenced":
            raise Fenced
        async with ctx.transaction() as tx:
            await tx.execute(INSERT, (ctx.task_id, ctx.attempt))
            await break_it(tx, how)

    @app.task(max_attempts=2)
    def breaks_in_a_thread(ctx: Context) -> None:
        runs["thread"] = runs.get("thread", 0) + 1
        with ctx.transaction() as tx:
            tx.execute(TERMINATE)

    return app, runs


async def test_a_handler_that_breaks_its_connection_ends(config: Config, client: Client) -> None:
    """The first time is free, since it may have been a failover."""
    app, runs = breaking()
    kinds = ["terminates", "swallows", "idles", "closes the socket", "says so"]
    async with promoting(client.engine), working(config, app):
        ids = [await client.submit("breaks", how=how, options={"max_attempts": 2}) for how in kinds]
        ids.append(await client.submit("breaks_in_a_thread", options={"max_attempts": 2}))
        tasks = await client.all_ended(ids, timeout=60)
    for kind, task in zip([*kinds, "thread"], tasks, strict=True):
        assert (kind, task.state, task.attempt) == (kind, State.FAILED, 3)
        assert (kind, error_of(task)["code"]) in [
            (kind, "connection_lost"),
            ("closes the socket", "transaction_ended"),
        ]
        rows = await client.attempts(task.task_id)
        assert [(row.outcome, row.hand_backs) for row in rows] == [
            (Outcome.RELEASED, 1),
            (Outcome.ERRORED, None),
            (Outcome.ERRORED, None),
        ]
        assert await client.effects(task.task_id) == 0
    assert set(runs.values()) == {3}
    # The message of Postgres is lost where the handler writes before it has read it.
    message = error_of(tasks[2])["message"]
    assert "idle-in-transaction" in message or "unexpectedly" in message


async def test_error_raised_by_the_handler_stands(config: Config, client: Client) -> None:
    app, _ = breaking()
    async with promoting(client.engine), working(config, app):
        failed = await client.ended(await client.submit("breaks", how="fails"))
        fenced = await client.ended(
            await client.submit("breaks", how="says fenced", options={"max_attempts": 1})
        )
    assert (failed.state, failed.attempt, error_of(failed)["code"]) == (State.FAILED, 1, "failed")
    assert (fenced.state, fenced.attempt, error_of(fenced)["code"]) == (State.FAILED, 1, "fenced")


async def test_conflict_with_our_settle_is_logged_and_bounded(
    config: Config, client: Client
) -> None:
    app = Leaseq()

    @app.task(max_attempts=2)
    async def reports(ctx: Context) -> None:
        async with ctx.transaction() as tx:
            await tx.execute("set transaction isolation level repeatable read")
            await tx.execute(INSERT, (ctx.task_id, ctx.attempt))
            await ctx.set_progress({"done": 1})

    async with promoting(client.engine), working(config, app):
        task = await client.ended(await client.submit("reports", options={"max_attempts": 2}))
    assert task.state is State.FAILED
    assert task.attempt <= 3
    assert "Postgres does not answer" not in error_of(task)["message"]
    assert await client.effects(task.task_id) == 0


async def test_a_refusal_that_another_pool_of_the_process_meets_is_evidence_of_an_outage(
    config: Config, client: Client
) -> None:
    """Then all pools are emptied, and the worker's own counts no connection as lost."""
    primary = primary_at(str(config.postgres_url))
    outages = Outages(client.engine.stores.tasks, primary)
    await outages.seen_since(0.0)
    began = monotonic() + LOOK_SECONDS
    assert not await outages.seen_since(began)
    async with client.engine.stores.tasks.session.pool.connection() as conn:
        primary.leave_refusing(conn, "terminating connection due to administrator command")
    assert await outages.seen_since(began)


async def test_sessions_that_an_administrator_ends_cost_nothing(
    config: Config, client: Client
) -> None:
    """All at once, as in a failover: the worker's own connections are gone, too."""
    app, entered, release = Leaseq(), asyncio.Event(), asyncio.Event()

    @app.task(max_attempts=1)
    async def writes(ctx: Context) -> None:
        async with ctx.transaction() as tx:
            await tx.execute(INSERT, (ctx.task_id, ctx.attempt))
            entered.set()
            await release.wait()

    async with promoting(client.engine), working(config, app):
        task_id = await client.submit("writes", options={"max_attempts": 1})
        for _ in range(3):
            async with asyncio.timeout(60):
                await entered.wait()
            entered.clear()
            await client.rows(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where datname = current_database() and pid <> pg_backend_pid()"
            )
            release.set()
            await asyncio.sleep(0)
            release.clear()
            await until(entered.is_set)
        release.set()
        task = await client.ended(task_id)
    assert (task.state, task.retry_count) == (State.SUCCESS, 0)
    assert await client.effects(task_id) == 1


async def test_a_query_that_crashes_its_backend_ends_and_its_neighbours_are_not_charged(
    own_postgres: PostgresServer, config: Config
) -> None:
    """Each crash ends every session of Postgres, and Postgres serves again when the last has ended.
    The handlers raise after that: the worker's own sessions have ended, too."""
    config = replace(
        at(config, own_postgres.url), hand_back_base_seconds=0.2, statement_timeout_seconds=5.0
    )
    await prepare(own_postgres.url)
    app, crashes, ran = Leaseq(), [], asyncio.Event()

    @app.task
    async def crashes_postgres(ctx: Context) -> None:
        witness = await psycopg.AsyncConnection.connect(own_postgres.url, autocommit=True)
        async with ctx.transaction() as tx:
            pid = tx.info.backend_pid
            asyncio.get_running_loop().call_later(0.1, os.kill, pid, signal.SIGSEGV)
            crashes.append(ctx.attempt)
            try:
                await tx.execute("select pg_sleep(60)")
            except psycopg.OperationalError:
                await until(lambda: is_gone(witness))
                await until(lambda: is_back(own_postgres.url))
                raise

    @app.task
    async def waits_beside(ctx: Context) -> None:
        async with ctx.transaction() as tx:
            try:
                while not ran.is_set():
                    await tx.execute("select 1")
                    await asyncio.sleep(0.05)
            except psycopg.OperationalError:
                await until(lambda: is_back(own_postgres.url))
                raise

    async with open_engine(config, name="leaseq test client") as engine:
        client = Client(engine, config)
        async with promoting(engine), working(config, app):
            beside = await client.submit("waits_beside", options={"max_attempts": 1})
            crashing = await client.submit("crashes_postgres", options={"max_attempts": 2})
            task = await ended(client, crashing)
            ran.set()
            neighbour = await ended(client, beside)
    assert (task.state, error_of(task)["code"]) == (State.FAILED, "server_unreachable"), task
    assert len(crashes) == FREE_CRASHES + 2
    assert (neighbour.state, neighbour.retry_count) == (State.SUCCESS, 0), neighbour


async def is_gone(session: psycopg.AsyncConnection[Any]) -> bool:
    """Whether Postgres has ended this session."""
    try:
        await session.execute("select 1")
    except psycopg.OperationalError:
        return True
    return False


async def is_back(url: str) -> bool:
    """Whether Postgres takes connections. After a crash it does so when no process of before is
    left."""
    try:
        await (await psycopg.AsyncConnection.connect(url)).close()
    except psycopg.OperationalError:
        return False
    return True


async def ended(client: Client, task_id: str) -> Task:
    """The task, once it has ended, with a Postgres that is away now and then."""
    async with asyncio.timeout(150):
        while True:
            try:
                task = await client.find(task_id)
                if task.finished_at is not None:
                    return task
            except ServerUnreachable:
                pass
            await asyncio.sleep(0.1)


async def test_starved_of_connections_slows_down_and_says_so(
    config: Config, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leaseq.worker.build.TRANSACTION_CONNECTIONS", 1)
    app, holding, release = Leaseq(), asyncio.Event(), asyncio.Event()

    @app.task
    async def holds(ctx: Context) -> None:
        async with ctx.transaction():
            holding.set()
            await release.wait()

    @app.task(max_attempts=1)
    async def waits(ctx: Context) -> None:
        async with ctx.transaction():
            pass

    with recorded() as events:
        async with promoting(client.engine), working(config, app):
            await client.submit("holds")
            await holding.wait()
            task_id = await client.submit(
                "waits", options={"timeout_seconds": 0.2, "max_attempts": 1}
            )

            async def often() -> bool:
                return (await client.find(task_id)).hand_back_count >= 3

            await until(often)
            task = await client.find(task_id)
            assert (task.retry_count, error_of(task)["code"]) == (0, "starved")
            release.set()
            assert (await client.ended(task_id)).state is State.SUCCESS
    assert not [event for event in events if event.name == "loop.failed"]


@pytest.mark.parametrize(
    ("count", "outage", "silent", "charged"),
    [
        (0, False, False, False),
        (1, False, False, True),
        (1, True, True, False),
        (FREE_CRASHES - 1, True, True, False),
        (FREE_CRASHES, True, True, True),
        (50, True, False, False),
    ],
)
def test_charge_of_each_lost_session(count: int, outage: bool, silent: bool, charged: bool) -> None:
    ending = hand_back(
        Ending(Outcome.ERRORED, error=LOST), Counts(0, 0, 0, 5, count), outage=outage, silent=silent
    )
    assert ending.outcome is (Outcome.ERRORED if charged else Outcome.RELEASED)
    assert ending.self_caused
    assert ending.error is not None
    assert LOST.message in ending.error.message
