"""The handler's transaction ends with its attempt."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from leaseq import Context, Leaseq
from leaseq.config import Config
from leaseq.connections.postgres_connection import Connection
from leaseq.errors import Fenced
from leaseq.model import Outcome, State, Task
from leaseq.worker import build
from leaseq.worker.attempt import transaction
from support.client import Client
from support.proxy import ProxyTo
from support.servers import at
from support.worker import until, working

ONCE = {"max_attempts": 1}
INSERT = "insert into effects values (%s, %s, 0)"


def code_of(task: Task) -> str:
    assert task.error is not None
    return str(msgspec.json.decode(task.error)["code"])


async def test_blocks_that_overlap_never_lose_a_write(config: Config, client: Client) -> None:
    """Two concurrent blocks in one handler: they share the transaction, and where they cross it is
    an error, never a loss."""
    app = Leaseq()

    @app.task
    async def two_at_once(ctx: Context) -> None:
        async def write(n: int) -> None:
            async with ctx.transaction() as tx:
                await tx.execute(INSERT, (ctx.task_id, n))

        await asyncio.gather(write(1), write(2))

    async with working(config, app):
        for _ in range(5):
            task = await client.ended(await client.submit("two_at_once", options=ONCE))
            assert (task.state, await client.effects(task.task_id)) in [
                (State.SUCCESS, 2),
                (State.FAILED, 0),
            ]


async def test_task_left_running_by_a_handler_writes_nothing(
    config: Config, client: Client
) -> None:
    """The connection goes back to the pool and serves other attempts; a handler that still holds it
    is refused."""
    app, late = Leaseq(), asyncio.Event()
    left: list[asyncio.Task[Any]] = []

    @app.task
    async def leaves_a_task(ctx: Context, how: str) -> None:
        async def write(tx: Any) -> None:
            await late.wait()
            await tx.execute(INSERT, (ctx.task_id, ctx.attempt))

        async with ctx.transaction() as tx:
            left.append(asyncio.create_task(write(tx)))
        if how == "raise":
            raise ValueError
        if how == "overrun":
            await asyncio.sleep(60)

    @app.task
    async def holds(ctx: Context) -> None:
        """Another attempt, on the same connection."""
        async with ctx.transaction():
            late.set()
            await asyncio.sleep(0.2)

    async with working(config, app, concurrency=1):
        ids = [
            await client.submit("leaves_a_task", how=how, options=ONCE | {"timeout_seconds": 0.3})
            for how in ("return", "raise", "overrun")
        ]
        await client.all_ended(ids)
        assert (await client.ended(await client.submit("holds"))).state is State.SUCCESS
        refused = await asyncio.gather(*left, return_exceptions=True)
    assert [type(error) for error in refused] == [Fenced] * 3
    assert [await client.effects(task_id) for task_id in ids] == [0, 0, 0]


async def test_statement_left_running_delays_no_other_attempt(
    config: Config, client: Client
) -> None:
    app = Leaseq()
    left: list[asyncio.Task[Any]] = []

    @app.task
    async def leaves_a_statement(ctx: Context) -> None:
        async with ctx.transaction() as tx:
            await tx.execute(INSERT, (ctx.task_id, ctx.attempt))
        left.append(asyncio.create_task(tx.execute("select pg_sleep(60)")))
        await asyncio.sleep(0.1)
        raise ValueError

    async with working(config, app):
        task = await client.ended(await client.submit("leaves_a_statement", options=ONCE))
        assert code_of(task) == "error"
        await asyncio.wait(left, timeout=5)
        assert left[0].exception() is not None


async def test_a_handler_that_returns_in_the_middle_of_a_statement_has_not_succeeded(
    config: Config, client: Client
) -> None:
    app = Leaseq()
    left: list[asyncio.Task[Any]] = []

    @app.task
    async def forgets(ctx: Context) -> None:
        async with ctx.transaction() as tx:
            await tx.execute(INSERT, (ctx.task_id, ctx.attempt))
        left.append(asyncio.create_task(tx.execute("select pg_sleep(60)")))
        await asyncio.sleep(0.1)

    async with working(config, app):
        task = await client.ended(await client.submit("forgets", options=ONCE))
        assert (task.state, code_of(task)) == (State.FAILED, "commit_refused")
        await asyncio.wait(left, timeout=5)
        assert left[0].exception() is not None
        assert await client.effects(task.task_id) == 0


async def test_the_statement_of_a_thread_ends_with_its_attempt(
    config: Config, client: Client, eventually: Callable[..., Any]
) -> None:
    """Or the attempt that replaces it would wait for its locks."""
    app = Leaseq()

    @app.task
    def sleeps_in_postgres(ctx: Context) -> None:
        with ctx.transaction() as tx:
            tx.execute(INSERT, (ctx.task_id, ctx.attempt))
            tx.execute("select pg_sleep(50)")

    async with working(config, app, concurrency=1) as worker:
        task = await client.ended(
            await client.submit("sleeps_in_postgres", options=ONCE | {"timeout_seconds": 0.3})
        )
        assert code_of(task) == "timeout"

        async def nothing_sleeps() -> bool:
            running = "select 1 from pg_stat_activity where state = 'active' and query like 'select pg_sleep(50)%%'"
            return not await client.rows(running)

        await eventually(nothing_sleeps)
        await until(lambda: worker.slots.running == 0)
        assert await client.effects(task.task_id) == 0


async def test_attempt_timed_out_while_it_waits_for_a_connection_is_not_charged(
    config: Config, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "TRANSACTION_CONNECTIONS", 1)
    app, holding, release = Leaseq(), asyncio.Event(), asyncio.Event()

    @app.task
    async def holds(ctx: Context) -> None:
        async with ctx.transaction():
            holding.set()
            await release.wait()

    @app.task
    async def waits(ctx: Context) -> None:
        async with ctx.transaction() as tx:
            await tx.execute(INSERT, (ctx.task_id, ctx.attempt))

    @app.task
    def waits_in_a_thread(ctx: Context) -> None:
        with ctx.transaction() as tx:
            tx.execute(INSERT, (ctx.task_id, ctx.attempt))

    async with working(config, app) as worker:
        holder = await client.submit("holds")
        await holding.wait()
        for name in ("waits", "waits_in_a_thread"):
            task_id = await client.submit(name, options={"timeout_seconds": 0.3})
            await until(lambda task_id=task_id: _tried(client, task_id))
            task = await client.find(task_id)
            assert (task.state, task.retry_count) == (State.SCHEDULED, 0)
            assert [a.outcome for a in await client.attempts(task_id)] == [Outcome.RELEASED]
        release.set()
        assert (await client.ended(holder)).state is State.SUCCESS
        await until(lambda: worker.slots.running == 0)
        assert (await client.ended(await client.submit("waits"))).state is State.SUCCESS


async def test_a_transaction_that_opens_after_its_attempt_has_ended_leaves_no_connection_behind(
    config: Config, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "TRANSACTION_CONNECTIONS", 1)
    app, begun, begin = Leaseq(), asyncio.Event(), asyncio.Event()
    answer = transaction._answer

    async def answer_late(conn: Connection, script: bytes, place: int) -> str:
        found = await answer(conn, script, place)
        if not begun.is_set():
            begun.set()
            await begin.wait()
        return found

    @app.task
    def in_a_thread(ctx: Context) -> None:
        with ctx.transaction() as tx:
            tx.execute(INSERT, (ctx.task_id, ctx.attempt))

    async with working(config, app) as worker:
        monkeypatch.setattr(transaction, "_answer", answer_late)
        for seconds in (0.2, 1.0, 5.0, 25.0):  # on a slow machine an attempt ends before it begins
            limit = ONCE | {"timeout_seconds": seconds}
            late = await client.ended(await client.submit("in_a_thread", options=limit))
            assert late.state is State.FAILED
            if begun.is_set():
                break
        assert begun.is_set()
        begin.set()
        await until(lambda: worker.slots.running == 0)
        assert (await client.ended(await client.submit("in_a_thread"))).state is State.SUCCESS


async def _tried(client: Client, task_id: str) -> bool:
    return len(await client.attempts(task_id)) == 1


async def test_a_handler_that_closes_the_connection_has_ended_its_transaction(
    config: Config, client: Client
) -> None:
    """Permanently: handing it back without a charge would run it without end."""
    app = Leaseq()

    @app.task
    async def closes(ctx: Context, inside: bool) -> None:
        async with ctx.transaction() as tx:
            await tx.execute(INSERT, (ctx.task_id, ctx.attempt))
            if inside:
                await tx.close()
        if not inside:
            await tx.close()

    async with working(config, app):
        for inside in (True, False):
            task = await client.ended(await client.submit("closes", inside=inside))
            assert (task.state, code_of(task), task.attempt) == (
                State.FAILED,
                "transaction_ended",
                1,
            )
            assert await client.effects(task.task_id) == 0


async def test_a_frozen_postgres_costs_a_handler_no_retry(
    config: Config, client: Client, proxy_to: ProxyTo
) -> None:
    """The time-out comes while a statement waits for an answer that does not come."""
    assert config.postgres_url is not None
    proxy = await proxy_to(config.postgres_url)
    app, entered = Leaseq(), asyncio.Event()

    @app.task
    async def asks(ctx: Context) -> None:
        async with ctx.transaction() as tx:
            entered.set()
            while True:
                await tx.execute("select 1")
                await asyncio.sleep(0.01)

    async with working(at(config, proxy.url), app):
        task_id = await client.submit("asks", options={"timeout_seconds": 0.5})
        await entered.wait()
        proxy.freeze()
        # past the time-out, and past the patience with a server that does not cancel
        await asyncio.sleep(3)
        proxy.thaw()
        await until(lambda: _tried(client, task_id), seconds=15)
        task = await client.find(task_id)
        assert (task.state, task.retry_count) == (State.SCHEDULED, 0)
        assert await client.effects(task_id) == 0


async def test_threads_do_not_share_their_ends(config: Config, client: Client) -> None:
    """A thread that overran asks for its transaction, and gets nothing."""
    app, late, refused = Leaseq(), threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    @app.task
    def comes_late(ctx: Context) -> None:
        late.wait()
        try:
            with ctx.transaction() as tx:
                tx.execute(INSERT, (ctx.task_id, ctx.attempt))
        except Fenced:
            loop.call_soon_threadsafe(refused.set)

    async with working(config, app):
        task = await client.ended(
            await client.submit("comes_late", options=ONCE | {"timeout_seconds": 0.2})
        )
        late.set()
        await asyncio.wait_for(refused.wait(), 5)
        assert await client.effects(task.task_id) == 0
