"""Hosted Postgres with other defaults of roles and databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
import pytest
from msgspec.structs import replace
from psycopg import sql

from leaseq import Context, Leaseq
from leaseq.config import Config
from leaseq.connections.postgres import open_pool
from leaseq.errors import ServerUnfit
from leaseq.ledger.schema import migrate
from leaseq.ledger.session import Session
from leaseq.ledger.workers import WorkerLedger
from leaseq.model import State
from leaseq.observability.telemetry import WARNING, recorded
from leaseq.operations.open_engine import open_engine
from leaseq.operations.recover import Death, session_name
from leaseq.server_checks.startup import inspect_servers, require_usable_servers
from support.client import Client
from support.ledger import open_worker
from support.servers import _admin, _database_url, admin_url
from support.worker import until, working

HOSTILE = {
    "idle_in_transaction_session_timeout": "1s",
    "idle_session_timeout": "1s",
    "default_transaction_isolation": "serializable",
    "statement_timeout": "1s",
    "lock_timeout": "1ms",
    "transaction_timeout": "1s",
    "search_path": "nowhere",
    "TimeZone": "Asia/Kathmandu",
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "sql_standard",
    "client_encoding": "LATIN1",
    "client_min_messages": "error",
    "array_nulls": "off",
    "bytea_output": "escape",
    "extra_float_digits": "-10",
    "row_security": "off",
    "plan_cache_mode": "force_generic_plan",
    "jit": "on",
}
THINK_SECONDS = 1.5  # longer than the limits above


@pytest.fixture
async def hostile(config: Config, plain: psycopg.AsyncConnection[Any]) -> Config:
    """A database whose defaults contradict what leaseq needs."""
    for name, value in HOSTILE.items():
        if name == "transaction_timeout" and plain.info.server_version < 170_000:
            continue
        await _alter(plain, name, value)
    return config


async def _alter(plain: psycopg.AsyncConnection[Any], name: str, value: str) -> None:
    words = {
        "database": sql.Identifier(plain.info.dbname),
        "name": sql.Identifier(name),
        "value": sql.Literal(value),
    }
    await plain.execute(sql.SQL("alter database {database} set {name} = {value}").format(**words))


async def test_hostile_defaults_change_nothing_for_a_handler(
    hostile: Config, plain: psycopg.AsyncConnection[Any]
) -> None:
    """The handler thinks longer than every limit, writes progress beside its transaction, and uses
    all of Unicode."""
    app = Leaseq()
    await plain.execute("create table public.effects (task_id text)")

    @app.task(max_attempts=2)
    async def thinks(ctx: Context, word: str) -> str:
        async with ctx.transaction() as tx:
            await tx.execute("insert into public.effects values (%s)", (ctx.task_id,))
            await ctx.set_progress({"word": word})
            await asyncio.sleep(THINK_SECONDS)
            await tx.execute("select pg_sleep(%s)", (THINK_SECONDS,))
        return word

    async with working(hostile, app), open_engine(hostile, name="leaseq test") as engine:
        client = Client(engine, hostile)
        task_id = await client.submit(
            "thinks", word="\N{EURO SIGN}\N{PILE OF POO}", options={"idempotency_key": "NULL"}
        )
        task = await client.ended(task_id)
    assert (task.state, task.attempt, task.retry_count) == (State.SUCCESS, 1, 0)
    assert task.result == '"\N{EURO SIGN}\N{PILE OF POO}"'.encode()
    found = await (await plain.execute("select task_id from public.effects")).fetchall()
    assert found == [(task_id,)]


async def test_hostile_defaults_keep_no_process_from_starting(hostile: Config) -> None:
    await require_usable_servers(hostile)
    assert [finding for finding in (await inspect_servers(hostile)).findings if finding.fatal] == []


async def test_migrators_that_meet_under_a_strict_isolation_migrate_once(
    session_postgres: str, config: Config
) -> None:
    """A snapshot that is older than the lock would hide what the first one has done."""
    name = "leaseq_strict"
    with _admin(session_postgres) as admin:
        admin.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        admin.execute(
            sql.SQL(
                "alter database {} set default_transaction_isolation = 'repeatable read'"
            ).format(sql.Identifier(name))
        )
        try:
            url = _database_url(session_postgres, name)
            applied = await asyncio.gather(*(migrate(url) for _ in range(4)))
            assert sorted(map(bool, applied)).count(False) < 4
            assert len([step for steps in applied for step in steps]) == len(
                {step for steps in applied for step in steps}
            )
        finally:
            admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture
async def schema_named_like_the_role(config: Config, plain: psycopg.AsyncConnection[Any]) -> Config:
    await plain.execute(
        sql.SQL("alter database {} reset search_path").format(sql.Identifier(plain.info.dbname))
    )
    assert plain.info.user == "leaseq", "the case that matters"
    return config


async def test_a_role_called_leaseq_does_not_put_tables_of_handlers_into_our_schema(
    schema_named_like_the_role: Config, plain: psycopg.AsyncConnection[Any]
) -> None:
    app = Leaseq()

    @app.task(max_attempts=1)
    async def makes(ctx: Context) -> None:
        async with ctx.transaction() as tx:
            await tx.execute("create table tasks (n integer)")
            await tx.execute("insert into tasks values (1)")

    config = schema_named_like_the_role
    async with working(config, app), open_engine(config, name="leaseq test") as engine:
        client = Client(engine, config)
        task = await client.ended(await client.submit("makes"))
    assert task.state is State.SUCCESS, task.error
    assert await (await plain.execute("select n from public.tasks")).fetchall() == [(1,)]


@pytest.fixture
async def odd_role(config: Config, session_postgres: str) -> AsyncIterator[Config]:
    """A superuser whose name needs quoting wherever it is used."""
    name = 'Odd "role"\'s % \N{EURO SIGN} name'
    with _admin(session_postgres) as admin:
        admin.execute(
            sql.SQL("create role {} superuser login password 'pw'").format(sql.Identifier(name))
        )
        parts = urlsplit(str(config.postgres_url))
        netloc = f"{quote(name, safe='')}:pw@{parts.hostname}:{parts.port}"
        try:
            yield replace(config, postgres_url=urlunsplit(parts._replace(netloc=netloc)))
        finally:
            admin.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


async def test_a_role_with_odd_characters_works(odd_role: Config) -> None:
    await require_usable_servers(odd_role)
    async with open_engine(odd_role, name="leaseq test") as engine:
        assert await Client(engine, odd_role).submit("nothing")
        assert (
            await engine.stores.workers.end_sessions("nobody", application_name="leaseq tx nobody")
        ).kept == 0


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "EUC_JP"])
async def test_a_database_that_is_not_utf_8_is_refused_by_everything(
    encoding: str, session_postgres: str, config: Config
) -> None:
    name = f"leaseq_{encoding.lower()}"
    with _admin(session_postgres) as admin:
        words = {"name": sql.Identifier(name), "encoding": sql.Literal(encoding)}
        query = "create database {name} encoding {encoding} lc_collate 'C' lc_ctype 'C' template template0"
        admin.execute(sql.SQL(query).format(**words))
        url = _database_url(session_postgres, name)
        other = replace(config, postgres_url=url)
        try:
            for start in (
                require_usable_servers(other),
                migrate(url),
                Leaseq(other).__aenter__(),
                open_pool(other, name="x", max_size=1),
            ):
                with pytest.raises(ServerUnfit, match=f"encoded in {encoding}.*encoding 'UTF8'"):
                    await start
            (finding,) = (await inspect_servers(other)).findings
            assert finding.fatal
            assert encoding in finding.message
        finally:
            admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture
async def reaper_role(
    config: Config, session_postgres: str, plain: psycopg.AsyncConnection[Any]
) -> AsyncIterator[Config]:
    """A role with the rights of a service, and none over the sessions of a superuser."""
    with _admin(session_postgres) as admin:
        admin.execute("create role leaseq_other_reaper login password 'pw'")
        try:
            await plain.execute("grant usage on schema leaseq to leaseq_other_reaper")
            for kind in ("tables", "functions"):
                await plain.execute(
                    f"grant all on all {kind} in schema leaseq to leaseq_other_reaper".encode()
                )
            parts = urlsplit(str(config.postgres_url))
            netloc = f"leaseq_other_reaper:pw@{parts.hostname}:{parts.port}"
            yield replace(config, postgres_url=urlunsplit(parts._replace(netloc=netloc)))
        finally:
            await plain.execute("drop owned by leaseq_other_reaper")
            admin.execute("drop role leaseq_other_reaper")


async def test_a_session_that_may_not_be_ended_does_not_stop_the_reap(
    config: Config, reaper_role: Config, client: Client
) -> None:
    """Worker and reaper under two roles: the worker's open transaction is a superuser's."""
    async with (
        open_engine(reaper_role, name="leaseq test reaper") as engine,
        await open_pool(config, name="leaseq test", max_size=2) as pool,
    ):
        worker_id = await open_worker(WorkerLedger(Session(pool, deadline_seconds=10)))
        task_id = await client.submit("nothing")
        await client.engine.stores.leases.open(
            "default", worker_id=worker_id, lease_seconds=60, token="first"
        )

        async def pulled() -> bool:
            await engine.stores.dispatcher.pull("default", worker_id=worker_id, limit=1)
            return bool(
                (await engine.stores.dispatcher.held("default", worker_id=worker_id)).task_ids
            )

        await until(pulled)
        await engine.stores.tasks.claim([task_id], worker_id=worker_id)
        name = session_name(worker_id)
        async with await psycopg.AsyncConnection.connect(
            admin_url(config), application_name=name
        ) as frozen:
            with recorded(level=WARNING) as events:
                assert await engine.recovery.recover(
                    Death(worker_id=worker_id, queues=["default"], reason="it is dead")
                )
            assert await (await frozen.execute("select 1")).fetchall() == [(1,)], (
                "it could not be ended"
            )
    assert next((e.name, e.fields.get("count")) for e in events) == ("sessions.kept", 1)
    assert (await client.find(task_id)).state is State.PENDING
