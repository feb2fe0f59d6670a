"""Each attempt finds the session of its connection in the same defined state."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import psycopg
import pytest

from leaseq import Context, Fail, Leaseq
from leaseq.config import Config
from leaseq.model import State
from support.client import Client
from support.worker import stop_myself, working

ONCE = {"max_attempts": 1}

# Statements of a handler that outlive its transaction, on a plain Postgres.
LEAKS = {
    "search_path": "set search_path = pg_temp, public",
    "custom": "select set_config('app.tenant', 'acme', false)",
    "statement_timeout": "set statement_timeout = '7s'",
    "lock_timeout": "set lock_timeout = '7s'",
    "idle_in_transaction_session_timeout": "set idle_in_transaction_session_timeout = '7s'",
    "idle_session_timeout": "set idle_session_timeout = '77s'",
    "synchronous_commit": "set synchronous_commit = off",
    "default_transaction_isolation": "set default_transaction_isolation = serializable",
    "default_transaction_read_only": "set default_transaction_read_only = on",
    "default_transaction_deferrable": "set default_transaction_deferrable = on",
    "session characteristics": "set session characteristics as transaction isolation level repeatable read, read only",
    "application_name": "set application_name = 'mine'",
    "client_encoding": "set client_encoding = latin1",
    "client_min_messages": "set client_min_messages = error",
    "TimeZone": "set timezone = 'Asia/Tokyo'",
    "DateStyle": "set datestyle = 'SQL, DMY'",
    "IntervalStyle": "set intervalstyle = iso_8601",
    "bytea_output": "set bytea_output = escape",
    "extra_float_digits": "set extra_float_digits = -5",
    "standard_conforming_strings": "set standard_conforming_strings = off",
    "work_mem": "set work_mem = '77MB'",
    "enable_indexscan": "set enable_indexscan = off",
    "plan_cache_mode": "set plan_cache_mode = force_custom_plan",
    "row_security": "set row_security = off",
    "session_replication_role": "set session_replication_role = replica",
    "tcp_keepalives_idle": "set tcp_keepalives_idle = 77",
    "role": "set role pg_read_all_data",
    "session authorization": "set session authorization pg_read_all_data",
    "prepared": "prepare mine as select 1",
    "prepared by the name of psycopg": "prepare _pg3_0 as select 'mine'",
    "cursor with hold": "declare mine cursor with hold for select 1",
    "listen": "listen mine",
    "advisory lock": "select pg_advisory_lock(1)",
    "advisory lock, shared": "select pg_advisory_lock_shared(1, 2)",
    "temporary table": "create temporary table mine (id int)",
    "temporary table over one of ours": "create temporary table effects (task_id text)",
    "temporary view": "create temporary view mine_v as select 1",
    "temporary function": "create function pg_temp.mine() returns int language sql return 1",
    "temporary type": "create type pg_temp.mine_t as (a int)",
    "sequence": "select nextval('of_all')",
    "jit": "set jit = off; set geqo = off",
}

PORTRAIT = """
select json_build_object(
    'settings', (select json_object_agg(name, setting order by name) from pg_settings where name not like 'transaction%'),
    'tenant', coalesce(current_setting('app.tenant', true), ''),
    'users', array[current_user, session_user],
    'prepared', (select array_agg(name) from pg_prepared_statements),
    'cursors', (select array_agg(name) from pg_cursors where is_holdable),
    'channels', (select array_agg(c) from pg_listening_channels() as c),
    'locks', (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()),
    'temporary', (select array_agg(relname) from pg_class where relnamespace = pg_my_temp_schema()),
    'functions', (select array_agg(proname) from pg_proc where pronamespace = pg_my_temp_schema()),
    'types', (select array_agg(typname) from pg_type where typnamespace = pg_my_temp_schema())
)::text
"""


def app_of_two() -> Leaseq:
    """A handler that leaves something behind, and one that looks around."""
    app = Leaseq()

    @app.task
    async def leaves(ctx: Context, what: str, ending: str) -> None:
        async with ctx.transaction() as tx:
            try:
                async with tx.transaction():
                    await tx.execute(LEAKS[what].encode())
            except psycopg.errors.InsufficientPrivilege:
                return  # where handlers have few rights, it leaves nothing
            if ending == "raise":
                raise Fail
            if ending == "stop":
                await stop_myself()

    @app.task
    async def looks(ctx: Context) -> list[Any]:
        async with ctx.transaction() as tx:
            row = await (await tx.execute(PORTRAIT, prepare=False)).fetchone()
            assert row is not None
            found = [tx.info.backend_pid, msgspec.json.decode(row[0])]
        async with ctx.transaction() as tx:
            try:
                async with tx.transaction():
                    last = await (await tx.execute("select lastval()", prepare=False)).fetchone()
            except psycopg.errors.ObjectNotInPrerequisiteState:
                last = None
        return [*found, last]

    return app


async def look(client: Client) -> list[Any]:
    task = await client.ended(await client.submit("looks", options=ONCE))
    assert (task.state, task.error) == (State.SUCCESS, None)
    assert task.result is not None
    found: list[Any] = msgspec.json.decode(task.result)
    return found


@pytest.mark.parametrize("ending", ["return", "raise", "stop"])
async def test_nothing_that_a_handler_says_outlives_its_attempt(
    config: Config, client: Client, ending: str
) -> None:
    await client.rows("create sequence of_all")
    left: dict[str, Any] = {}
    async with working(config, app_of_two(), concurrency=1):
        # the first settle of a session loads PL/pgSQL, whose settings are listed from then on
        await look(client)
        fresh = await look(client)
        for what in LEAKS:
            await client.ended(
                await client.submit("leaves", what=what, ending=ending, options=ONCE)
            )
            found = await look(client)
            if found[1:] != fresh[1:]:
                left[what] = difference(fresh[1], found[1]) or found[2]
            assert found[0] == fresh[0], f"{what}: the session was ended, and not reset"
    assert left == {}


def difference(before: dict[str, Any], after: dict[str, Any]) -> list[Any]:
    settings = [(k, v) for k, v in after["settings"].items() if before["settings"].get(k) != v]
    return settings + [(k, v) for k, v in after.items() if k != "settings" and before[k] != v]


async def test_a_seed_of_one_attempt_foretells_nothing_in_the_next(
    config: Config, client: Client
) -> None:
    app = Leaseq()

    @app.task
    async def seeds(ctx: Context, first: bool) -> str:
        async with ctx.transaction() as tx:
            if first:
                await tx.execute("select setseed(0.5)")
            row = await (await tx.execute("select random()")).fetchone()
            if first:
                await tx.execute("select setseed(0.5)")
        return str(row)

    async with working(config, app, concurrency=1):
        drawn = [
            (await client.ended(await client.submit("seeds", first=first))).result
            for first in (True, False)
        ]
    assert drawn[0] != drawn[1]


async def test_ordinary_attempts_share_one_session(config: Config, client: Client) -> None:
    """A connection is replaced only where something is left of an attempt."""
    app, kept = Leaseq(), list[Any]()

    @app.task
    async def works(ctx: Context, how: str) -> None:
        async with ctx.transaction() as tx:
            cursor = await tx.execute(
                "insert into effects values (%s, 1, pg_backend_pid()) returning pid", (ctx.task_id,)
            )
            await client.rows(
                "insert into effects values ('pids', 1, %s)", (await cursor.fetchone() or [0])[0]
            )
            async with tx.cursor() as mine, tx.transaction():
                await mine.executemany("select %s", [(1,), (2,)])
            async with tx.cursor("named") as mine:
                await mine.execute("select generate_series(1, 3)")
                assert [row async for row in mine] == [(1,), (2,), (3,)]
            async with tx.pipeline():
                await tx.execute("select 1")
            kept.append(tx)
        async with ctx.transaction() as tx:
            match how:
                case "raise":
                    raise ValueError
                case "err":
                    await tx.execute("select no_such_column")
                case "overrun":
                    await tx.execute("select pg_sleep(60)")
                case "idle":
                    await asyncio.sleep(60)

    @app.task
    def works_in_a_thread(ctx: Context) -> None:
        with ctx.transaction() as tx:
            pid = tx.execute("select pg_backend_pid()")[0][0]
            tx.execute("insert into effects values ('pids', 1, %s)", (pid,))

    async with working(config, app, concurrency=1):
        for how in ("return", "raise", "err", "overrun", "idle", "return"):
            limit = {"timeout_seconds": 1.0} if how in ("overrun", "idle") else {}
            await client.ended(await client.submit("works", how=how, options=ONCE | limit))
            await client.ended(await client.submit("works_in_a_thread", options=ONCE))
    pids = await client.rows(
        "select count(*), count(distinct pid) from effects where task_id = 'pids'"
    )
    assert pids == [(12, 1)]
