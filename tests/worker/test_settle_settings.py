"""Settings of a handler change neither the settle nor its durability."""

from __future__ import annotations

import asyncio

import msgspec
import psycopg
import pytest
from msgspec.structs import replace

from leaseq import Context, Leaseq
from leaseq.config import Config
from leaseq.embedded import PostgresServer
from leaseq.model import State
from leaseq.observability.telemetry import recorded
from leaseq.operations.open_engine import open_engine
from support.client import Client
from support.servers import at, prepare
from support.worker import promoting, until, working

ONCE = {"max_attempts": 1}
LATE = """
create temp table late (id int) on commit drop;
create function pg_temp.raises() returns trigger language plpgsql as
    $$ begin raise '%', repeat('x', 1000000) using errcode = 'CODE'; end $$;
create constraint trigger late after insert on late deferrable initially deferred for each row execute function pg_temp.raises()
"""

# Functions and an operator that our statements would meet where a search_path puts this schema
# first.
EVIL = """
create schema evil;
create function evil.set_config(text, text, boolean) returns text language sql as 'select 1 / 0 || $1';
create function evil.clock_timestamp() returns timestamptz language sql as 'select now() + 1 / 0 * interval ''1 day''';
create function evil.never(uuid, uuid) returns boolean language sql as 'select false';
create operator evil.= (leftarg = uuid, rightarg = uuid, function = evil.never);
"""

SETTINGS = {
    "search_path": "set search_path = evil, pg_catalog",
    "search_path, local": "set local search_path = evil, pg_catalog, public",
    "search_path, empty": "set local search_path = ''",
    "role": "set local role pg_read_all_data",
    "session authorization": "set local session authorization pg_read_all_data",
    "read only": "set transaction read only",
    "session_replication_role": "set local session_replication_role = replica",
    "row_security": "set local row_security = off",
    "DateStyle": "set local datestyle = 'German'",
    "IntervalStyle": "set local intervalstyle = sql_standard",
    "bytea_output": "set local bytea_output = escape",
    "client_encoding": "set local client_encoding = latin1",
    "extra_float_digits": "set local extra_float_digits = -15",
    "array_nulls": "set local array_nulls = off",
    "standard_conforming_strings": "set local standard_conforming_strings = off",
    "transform_null_equals": "set local transform_null_equals = on",
    "index scans": "set local enable_indexscan = off; set local enable_nestloop = off; set local enable_seqscan = on",
    "timezone": "set local timezone = 'Asia/Tokyo'",
    "lock_timeout": "set local lock_timeout = '1ms'",
    "client_min_messages": "set local client_min_messages = error",
    "constraints": "set constraints all deferred",
    "prepared": "deallocate all; prepare _pg3_0 as select 1; prepare _pg3_1 as select 1",
    "isolation of the session": "set session characteristics as transaction isolation level serializable, read only",
    "reset": "reset all",
    "synchronous_commit": "set local synchronous_commit = off",
}


async def test_no_setting_of_a_handler_changes_its_settle(config: Config, client: Client) -> None:
    app = Leaseq()

    @app.task
    async def sets(ctx: Context, what: str, inside: bool) -> str:
        async with ctx.transaction() as tx:
            await tx.execute("insert into effects values (%s, 1, 0)", (ctx.task_id,))
            if inside:
                await tx.execute(SETTINGS[what].encode())
        if not inside:
            await tx.execute(SETTINGS[what].encode())
        return "\N{EURO SIGN} \\'"

    await client.rows(EVIL)
    found = {}
    async with working(config, app, concurrency=2):
        for what in SETTINGS:
            for inside in (True, False):
                task = await client.ended(
                    await client.submit("sets", what=what, inside=inside, options=ONCE)
                )
                # where handlers have few rights
                refused = task.error is not None and b"InsufficientPrivilege" in task.error
                found[what, inside] = refused or (
                    task.state,
                    task.result,
                    await client.effects(task.task_id),
                )
    result = msgspec.json.encode("\N{EURO SIGN} \\'")
    assert {
        key: seen for key, seen in found.items() if seen not in (True, (State.SUCCESS, result, 1))
    } == {}


async def test_a_settle_waits_for_a_lock_as_long_as_any_other(
    config: Config, client: Client
) -> None:
    """And not for as long as the handler has set."""
    app, ready = Leaseq(), asyncio.Event()

    @app.task
    async def sets(ctx: Context) -> None:
        async with ctx.transaction() as tx:
            await tx.execute("insert into effects values (%s, 1, 0)", (ctx.task_id,))
            await tx.execute("set local lock_timeout = '1ms'")
            ready.set()
            await asyncio.sleep(0.2)

    assert config.postgres_url is not None
    async with working(config, app):
        task_id = await client.submit("sets", options=ONCE)
        await ready.wait()
        async with await psycopg.AsyncConnection.connect(config.postgres_url) as holder:
            await holder.execute("select 1 from leaseq.tasks where id = %s for update", (task_id,))
            await until(lambda: _blocked(client))
        task = await client.ended(task_id)
    assert (task.state, task.attempt, await client.effects(task_id)) == (State.SUCCESS, 1, 1)


async def _blocked(client: Client) -> bool:
    waiting = "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    return bool(await client.rows(waiting))


@pytest.mark.parametrize("code", ["P0001", "40001", "53000"])
async def test_the_words_of_a_trigger_that_refuses_the_commit_are_cut(
    config: Config, client: Client, code: str
) -> None:
    app = Leaseq()

    @app.task
    async def inserts(ctx: Context) -> None:
        async with ctx.transaction() as tx:
            await tx.execute(LATE.replace("CODE", code).encode())
            await tx.execute("insert into late values (1)")

    quick = replace(config, hand_back_base_seconds=0.01, hand_back_cap_seconds=0.01)
    async with promoting(client.engine), working(quick, app):
        task = await client.ended(await client.submit("inserts", options={"max_attempts": 1}))
    assert task.error is not None
    assert msgspec.json.decode(task.error)["code"] == "commit_refused"
    assert len(task.error) < 10_000


async def test_a_deferred_constraint_is_checked_before_the_settle(
    config: Config, client: Client
) -> None:
    app = Leaseq()

    @app.task
    async def breaks(ctx: Context) -> None:
        async with ctx.transaction() as tx:
            await tx.execute("insert into effects values (%s, 1, 0)", (ctx.task_id,))
            await tx.execute("insert into children values (7)")

    await client.rows("create table parents (id int primary key)")
    await client.rows(
        "create table children (id int references parents (id) deferrable initially deferred)"
    )
    async with working(config, app):
        task = await client.ended(await client.submit("breaks", options=ONCE))
    assert task.error is not None
    assert (task.state, msgspec.json.decode(task.error)["code"]) == (State.FAILED, "commit_refused")
    assert await client.effects(task.task_id) == 0


RELAXED = [
    ["set local synchronous_commit = off"],
    ["set synchronous_commit = off"],
    ["select set_config('synchronous_commit', 'off', true)"],
    ["set synchronous_commit = off", ""],
]


@pytest.mark.slow("crashes a Postgres of its own")
async def test_a_success_outlives_a_crash_of_postgres(
    own_postgres: PostgresServer, config: Config
) -> None:
    """With its effect, for any settings. The WAL writer, which flushes late commits, sleeps for ten
    seconds."""
    await prepare(own_postgres.url)
    with psycopg.connect(own_postgres.url, autocommit=True) as conn:
        conn.execute("create table public.effects (task_id text, attempt int, pid int)")
        conn.execute("alter system set wal_writer_delay = '10s'")
        conn.execute("alter system set bgwriter_delay = '10s'")
        conn.execute("alter system set autovacuum = off")
    own_postgres.stop()
    own_postgres.start()
    own = at(config, own_postgres.url)
    app = Leaseq()

    @app.task
    async def relaxes(ctx: Context, statement: str) -> None:
        async with ctx.transaction() as tx:
            if statement:
                await tx.execute(statement.encode())
            await tx.execute("insert into effects values (%s, 1, 0)", (ctx.task_id,))

    for statements in RELAXED:
        with recorded() as events:
            async with (
                open_engine(own, name="leaseq test client") as engine,
                working(own, app, concurrency=1),
            ):
                client = Client(engine, own)
                for number, statement in enumerate(statements, start=1):
                    task_id = await client.submit("relaxes", statement=statement, options=ONCE)
                    await until(
                        lambda n=number: (
                            len([e for e in events if e.name == "attempt.settled"]) == n
                        ),
                        seconds=30,
                    )
                own_postgres.kill()
        own_postgres.start()
        async with open_engine(own, name="leaseq test client") as engine:
            client = Client(engine, own)
            task = await client.find(task_id)
            assert (task.state, task.error, await client.effects(task_id)) == (
                State.SUCCESS,
                None,
                1,
            ), statements
