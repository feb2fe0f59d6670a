"""Habits of users of psycopg and asyncio do not affect other attempts."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import importlib.util
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg.types import TypeInfo
from psycopg.types.composite import CompositeInfo, register_composite

from leaseq import Context, Leaseq
from leaseq.config import Config
from leaseq.model import State, Task
from support.client import Client
from support.worker import promoting, until, working

Habit = Callable[[Context, Any], Awaitable[Any]]
HABITS: dict[str, tuple[Habit, str]] = {}
KEPT: list[Any] = []
ONCE = {"max_attempts": 1}
SUCCESS = "SUCCESS"
SLEEP = "select pg_sleep(60)"
LATE = "create constraint trigger late after insert on {0} deferrable initially deferred for each row execute function {1}()"


def habit(ends: str) -> Callable[[Habit], Habit]:
    """Something that handlers do in their transaction; how their attempt ends: SUCCESS, or the code
    of its error."""

    def add(function: Habit) -> Habit:
        HABITS[function.__name__] = (function, ends)
        return function

    return add


@habit("error")
async def gives_up_a_statement(ctx: Context, tx: Any) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(tx.execute(SLEEP), 0.05)
    await tx.execute("select 1")


@habit(SUCCESS)
async def gives_up_a_statement_in_a_savepoint(ctx: Context, tx: Any) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05), tx.transaction():
            await tx.execute(SLEEP)
    await tx.execute("select 1")


@habit(SUCCESS)
async def gives_up_a_block(ctx: Context, tx: Any) -> None:
    async def write() -> None:
        async with ctx.transaction() as inner:
            await inner.execute("insert into effects values ('undone', 1, 0)")
            await inner.execute(SLEEP)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(write(), 0.05)
    async with ctx.transaction() as inner:
        await inner.execute("select 1")


@habit(SUCCESS)
async def shields_a_statement(ctx: Context, tx: Any) -> None:
    """The end of the block waits for it."""
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(tx.execute("select pg_sleep(0.3)")), 0.05)


@habit("error")
async def leaves_a_copy_half_way(ctx: Context, tx: Any) -> None:
    copying = tx.cursor().copy("copy effects (task_id) from stdin")
    rows = await copying.__aenter__()
    await rows.write_row(("half",))


@habit("commit_refused")
async def leaves_a_pipeline_open(ctx: Context, tx: Any) -> None:
    pipeline = tx.pipeline()
    await pipeline.__aenter__()
    KEPT.append(pipeline)


@habit("timeout")
async def keeps_a_stream_half_read(ctx: Context, tx: Any) -> None:
    """The stream holds the lock of the connection, so the end of the block waits for it."""
    stream = tx.cursor().stream("select generate_series(1, 100000)")
    await anext(stream)
    KEPT.append(stream)


@habit("error")
async def asks_for_autocommit(ctx: Context, tx: Any) -> None:
    await tx.set_autocommit(True)


@habit("error")
async def asks_for_an_isolation_level(ctx: Context, tx: Any) -> None:
    await tx.set_isolation_level(psycopg.IsolationLevel.SERIALIZABLE)


@habit("error")
async def begins_in_two_phases(ctx: Context, tx: Any) -> None:
    await tx.tpc_begin("mine")


@habit("error")
async def discards_all(ctx: Context, tx: Any) -> None:
    await tx.execute("discard all")


@habit("error")
async def cancels_its_statement(ctx: Context, tx: Any) -> None:
    running = asyncio.create_task(tx.execute(SLEEP))
    await asyncio.sleep(0.05)
    tx.cancel()
    await running


@habit("error")
async def cancels_its_backend(ctx: Context, tx: Any) -> None:
    await tx.execute("select pg_cancel_backend(pg_backend_pid()), pg_sleep(60)")


@habit("transaction_ended")
async def commits_below_psycopg(ctx: Context, tx: Any) -> None:
    tx.pgconn.exec_(b"commit")


@habit("commit_refused")
async def breaks_a_deferred_constraint(ctx: Context, tx: Any) -> None:
    await tx.execute("create temp table parents (id int primary key) on commit drop")
    await tx.execute(
        "create temp table children (parent int references parents deferrable initially deferred)"
    )
    await tx.execute("insert into children values (1)")


@habit("commit_refused")
async def has_a_trigger_that_raises_late(ctx: Context, tx: Any) -> None:
    await tx.execute("create temp table late (id int) on commit drop")
    await tx.execute(
        "create function pg_temp.raises() returns trigger language plpgsql as $$ begin raise 'too late'; end $$"
    )
    await tx.execute(LATE.format("late", "pg_temp.raises"))
    await tx.execute("insert into late values (1)")


@habit(SUCCESS)
async def has_a_trigger_that_sets_late(ctx: Context, tx: Any) -> None:
    await tx.execute("create temp table late (id int) on commit drop")
    await tx.execute(
        "create function pg_temp.sets() returns trigger language plpgsql as $$ begin"
        " perform set_config('synchronous_commit', 'off', false), set_config('work_mem', '77MB', false); return null; end $$"
    )
    await tx.execute(LATE.format("late", "pg_temp.sets"))
    await tx.execute("insert into late values (1)")


@habit(SUCCESS)
async def leaves_what_ends_with_its_transaction(ctx: Context, tx: Any) -> None:
    await tx.execute("select pg_advisory_xact_lock(1)")
    await tx.execute("select lo_open(lo_create(0), 393216)")
    # A role of a hoster may have no other one.
    other = "case when pg_has_role('pg_read_all_data', 'member') then 'pg_read_all_data' else current_user end"
    await tx.execute(f"select set_config('role', {other}, true)")
    await tx.execute("set local statement_timeout = '1h'")


@habit(SUCCESS)
async def keeps_cursors_with_hold(ctx: Context, tx: Any) -> None:
    await tx.execute("declare mine cursor with hold for select generate_series(1, 9)")


@habit(SUCCESS)
async def keeps_a_copy_of_its_connection(ctx: Context, tx: Any) -> None:
    KEPT.append(copy.copy(tx))


@habit(SUCCESS)
async def abandons_a_generator(ctx: Context, tx: Any) -> None:
    async def rows() -> AsyncIterator[int]:
        async with ctx.transaction() as inner:
            await inner.execute("insert into effects values ('undone', 1, 0)")
            yield 1
            yield 2

    async for _ in rows():
        break
    await asyncio.sleep(0.05)


@habit(SUCCESS)
async def rolls_back_in_the_way_of_psycopg(ctx: Context, tx: Any) -> None:
    async with tx.transaction(force_rollback=True):
        await tx.execute("insert into effects values ('undone', 1, 0)")
    async with tx.transaction() as block:
        await tx.execute("insert into effects values ('undone', 1, 0)")
        raise psycopg.Rollback(block)


@habit(SUCCESS)
async def uses_savepoints_of_psycopgs_names(ctx: Context, tx: Any) -> None:
    await tx.execute("savepoint _pg3_1; savepoint _pg3_2; release savepoint _pg3_1")


@habit(SUCCESS)
async def prepares_by_the_dozen(ctx: Context, tx: Any) -> None:
    for n in range(12):
        await tx.execute(f"select {n}", prepare=True)
    await asyncio.gather(*[tx.execute("select %s", (n,)) for n in range(12)])


@habit(SUCCESS)
async def registers_types(ctx: Context, tx: Any) -> None:
    info = await CompositeInfo.fetch(tx, "effects")
    assert info is not None
    register_composite(info, tx)
    assert await TypeInfo.fetch(tx, "no_such_type") is None
    await (await tx.execute("select row('a', 1, 2, now())::effects")).fetchone()


@habit("transaction_foreign")
async def sheds_its_context(ctx: Context, tx: Any) -> None:
    async def write() -> None:
        await tx.execute("select 1")

    await asyncio.get_running_loop().create_task(write(), context=contextvars.Context())


@habit("error")
async def is_cancelled_by_its_own_callback_and_returns(ctx: Context, tx: Any) -> None:
    mine = asyncio.current_task()
    assert mine is not None
    mine.cancel()


@habit(SUCCESS)
async def has_a_callback_that_raises(ctx: Context, tx: Any) -> None:
    mine = asyncio.current_task()
    assert mine is not None
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda loop, context: None)
    mine.add_done_callback(lambda _: 1 / 0)
    loop.call_later(1, loop.set_exception_handler, before)


def app_of_habits() -> Leaseq:
    app = Leaseq()

    @app.task
    async def does(ctx: Context, what: str) -> None:
        async with ctx.transaction() as tx:
            await tx.execute("insert into effects values (%s, %s, 0)", (ctx.task_id, ctx.attempt))
            await HABITS[what][0](ctx, tx)

    @app.task
    async def behaves(ctx: Context, seconds: float) -> list[Any]:
        async with ctx.transaction() as tx:
            await tx.execute("insert into effects values (%s, %s, 0)", (ctx.task_id, ctx.attempt))
            row = await (
                await tx.execute("select name, setting from pg_settings where source = 'session'")
            ).fetchall()
            await asyncio.sleep(seconds)
            await tx.execute("select 1")
        return sorted(row)

    return app


def code_of(task: Task) -> str:
    return str(msgspec.json.decode(task.error)["code"]) if task.error else SUCCESS


async def test_habits_of_users_of_psycopg(config: Config, client: Client) -> None:
    found, wanted = dict[str, Any](), dict[str, Any]()
    async with working(config, app_of_habits(), concurrency=3) as worker:
        usual = (await client.ended(await client.submit("behaves", seconds=0, options=ONCE))).result
        for what, (_, ends) in HABITS.items():
            beside = await client.submit("behaves", seconds=0.2, options=ONCE)
            seconds = 2 if ends == "timeout" else 60
            task = await client.ended(
                await client.submit("does", what=what, options=ONCE | {"timeout_seconds": seconds})
            )
            after = await client.submit("behaves", seconds=0, options=ONCE)
            neighbours = [await client.ended(one) for one in (beside, after)]
            effects = [await client.effects(one.task_id) for one in (task, *neighbours)]
            found[what] = (code_of(task), effects, [(one.state, one.result) for one in neighbours])
            # what a handler has committed itself stays
            committed = ends in (SUCCESS, "transaction_ended")
            wanted[what] = (ends, [committed, 1, 1], [(State.SUCCESS, usual)] * 2)
            await until(lambda: worker.running == 0 and worker.slots.running == 0)
            KEPT.clear()
        assert worker.attempts._services.handle.pool.get_stats()["pool_size"] <= 3
    assert found == wanted
    assert await client.effects("undone") == 0


async def test_a_handler_writes_one_progress_at_a_time(
    config: Config, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connections of the worker are few, and the endings of all attempts need them."""
    app, writing, most = Leaseq(), 0, 0

    @app.task
    async def reports(ctx: Context) -> None:
        await asyncio.gather(*[ctx.set_progress(n) for n in range(30)])

    async with working(config, app) as worker:
        ledger = worker.attempts._services.handle.ledger
        write = ledger.set_progress

        async def count(*args: Any) -> bool:
            nonlocal writing, most
            writing += 1
            most = max(most, writing)
            try:
                return await write(*args)
            finally:
                writing -= 1

        monkeypatch.setattr(ledger, "set_progress", count)
        task = await client.ended(await client.submit("reports", options=ONCE))
    assert (task.state, task.progress, most) == (State.SUCCESS, b"29", 1)


async def test_an_error_of_decoding_in_a_handler_is_not_the_payloads(
    config: Config, client: Client, tmp_path: Path
) -> None:
    """Although the functions and files of the app have the names of ours."""
    file = tmp_path / "registry.py"
    file.write_text(
        "import msgspec\ndef decode(raw):\n    return msgspec.json.decode(raw, type=int)\n"
    )
    spec = importlib.util.spec_from_file_location("registry_of_an_app", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    app, runs = Leaseq(), list[int]()

    @app.task
    async def decodes(ctx: Context) -> int:
        runs.append(ctx.attempt)
        return int(module.decode(b'"no number"' if ctx.attempt == 1 else b"7"))

    quick = msgspec.structs.replace(config, backoff_base_seconds=0.01, backoff_cap_seconds=0.01)
    async with promoting(client.engine), working(quick, app):
        task = await client.ended(await client.submit("decodes"))
    assert (task.state, task.result, runs) == (State.SUCCESS, b"7", [1, 2])


async def test_only_an_attempt_that_ends_while_it_waits_is_starved_of_connections(
    config: Config, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one has given up its wait, and overruns for a reason of its own."""
    monkeypatch.setattr("leaseq.worker.build.TRANSACTION_CONNECTIONS", 1)
    app, holding, release = Leaseq(), asyncio.Event(), asyncio.Event()

    @app.task
    async def holds(ctx: Context) -> None:
        async with ctx.transaction():
            holding.set()
            await release.wait()

    @app.task
    async def goes_on_without(ctx: Context) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1), ctx.transaction():
                raise AssertionError("there is one connection")
        await asyncio.sleep(60)

    async with working(config, app):
        await client.submit("holds")
        await holding.wait()
        task = await client.ended(
            await client.submit("goes_on_without", options=ONCE | {"timeout_seconds": 1})
        )
        release.set()
    assert (task.state, code_of(task)) == (State.FAILED, "timeout")
