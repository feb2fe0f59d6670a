"""The rights of each role, and the limits of injected SQL."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace
from psycopg import sql

from leaseq import Context, Leaseq
from leaseq.config import Config
from leaseq.connections.postgres import open_handler_pool, open_pool
from leaseq.connections.postgres_connection import FastCancelConnection
from leaseq.embedded import embedded_servers
from leaseq.errors import ConfigInvalid, ServerUnfit
from leaseq.ledger.roles import (
    HANDLER,
    OWNER,
    SERVICE,
    RoleNames,
    as_role,
    find_service_role,
    grant,
    prepare_embedded,
)
from leaseq.ledger.session import Session
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.model import Credential, State
from leaseq.operations.open_engine import open_engine
from leaseq.operations.recover import Death, session_name
from leaseq.server_checks.startup import inspect_servers, require_usable_servers
from support.client import Client
from support.ledger import claim_task, find, open_worker, promote_due, submit, succeeded
from support.servers import ROLE_PASSWORD, _admin, with_roles
from support.worker import until, working

DENIED = psycopg.errors.InsufficientPrivilege

# Attempts of injected SQL. `{task}`, `{worker}` and `{attempt}` are those of another task that is
# running in the same worker.
ATTACKS = {
    "read payloads": "select payload from leaseq.tasks",
    "read keys": "select * from leaseq.idempotency_keys",
    "read errors": "select * from leaseq.attempts",
    "read secrets": "select secret from leaseq.workers",
    "claim": "update leaseq.tasks set state = 'PROCESSING', worker_id = 'me', attempt = attempt + 1",
    "settle": "update leaseq.tasks set state = 'SUCCESS', result = '1', worker_id = null, finished_at = now()",
    "submit": "insert into leaseq.scheduled (task_id, run_at) values (gen_random_uuid(), now())",
    "delete": "delete from leaseq.tasks",
    "truncate": "truncate leaseq.tasks",
    "lock a table": "lock leaseq.tasks in access exclusive mode",
    "lock a row": "select from leaseq.tasks for update",
    "pause": "update leaseq.queues set paused = true",
    "close workers": "update leaseq.workers set closed_at = now()",
    "drop": "drop schema leaseq cascade",
    "add a table": "create table leaseq.mine (n integer)",
    "add a trigger": "create trigger mine before update on leaseq.tasks execute function suppress_redundant_updates_trigger()",
    "replace a function": "create or replace function leaseq.check_secret(text, text) returns void language sql as ''",
    "settle by the function": "select leaseq.handler_succeed('{worker}', 'a guess', '{task}', {attempt}, '1')",
    "settle without a secret": "select leaseq.handler_succeed('{worker}', null, '{task}', {attempt}, '1')",
    "submit by the function": "select leaseq.handler_submit('{worker}', 'a guess', 1, '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', "
    "'{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}')",
    "find keys by the function": "select leaseq.handler_find_keys('{worker}', 'a guess', '{{default}}', '{{order-1}}')",
    "free keys by the function": "select leaseq.handler_expire_keys('{worker}', 'a guess', '{{default}}', '{{order-1}}')",
    "end a session by the function": "select leaseq.end_session(pg_backend_pid())",
    "see when a session began": "select leaseq.session_start(pg_backend_pid())",
    "guess secrets": "select leaseq.check_secret('{worker}', 'a guess')",
    "become the service": "set role leaseq_service",
    "become the owner": "set role leaseq_owner",
    "become a superuser": "set session authorization leaseq",
    "raise itself": "alter role leaseq_handler superuser",
    "run a program": "copy (select 1) to program 'id'",
    "read a file": "select pg_read_file('/etc/passwd')",
    "write a file": "copy (select 1) to '/tmp/leaseq-injected'",
    "load a library": "create function mine() returns void language c as '/lib/x86_64-linux-gnu/libc.so.6', 'abort'",
    "end a session of the service": "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'leaseq_service'",
}

SPY = """create function pg_temp.spy(what pg_catalog.text) returns boolean language plpgsql as
    $$begin insert into public.spied values (what); return true; end$$"""
SET_CONFIG = """create function pg_temp.set_config(a pg_catalog.text, b pg_catalog.text, c pg_catalog.bool)
    returns pg_catalog.text language sql as $$ select $2 $$"""
HIJACK = """create function public.set_config(text, text, boolean) returns text language plpgsql as
    $$begin raise exception 'hijacked'; end$$"""
OTHERS = """select query from pg_catalog.pg_stat_activity
    where usename <> current_user and query not in ('', '<insufficient privilege>')"""


@pytest.fixture
def roles(config: Config) -> Config:
    """The database of the test for the roles of services and handlers."""
    return with_roles(config)


@pytest.fixture
async def ours(roles: Config) -> AsyncIterator[Client]:
    async with open_engine(roles, name="leaseq test client") as engine:
        yield Client(engine, roles)


class Injected:
    """An app whose handlers run the SQL of their payload, while another task of the same worker
    runs."""

    def __init__(self) -> None:
        self.app = Leaseq()
        self.running, self.over = asyncio.Event(), asyncio.Event()
        self.victim: dict[str, Any] = {}

        @self.app.task
        async def victim(ctx: Context) -> str:
            self.victim = {"task": ctx.task_id, "attempt": ctx.attempt}
            self.running.set()
            await self.over.wait()
            return "its own result"

        @self.app.task(max_attempts=1)
        async def inject(ctx: Context, statements: list[str]) -> list[str]:
            said = []
            async with ctx.transaction() as tx:
                for statement in statements:
                    try:
                        async with tx.transaction():
                            cursor = await tx.execute(statement.encode())
                            said.append(
                                str(await cursor.fetchall() if cursor.description else "done")
                            )
                    except psycopg.Error as error:
                        said.append(type(error).__name__)
            return said


async def test_injected_sql_reaches_nothing_of_leaseq_and_nothing_of_the_machine(
    roles: Config, ours: Client
) -> None:
    injected = Injected()
    async with working(roles, injected.app) as worker:
        victim = await ours.submit(
            "victim",
            options={"idempotency_key": "order-1"},
        )
        await injected.running.wait()
        known = injected.victim | {"worker": worker.worker_id}
        task_id = await ours.submit(
            "inject", statements=[attack.format(**known) for attack in ATTACKS.values()]
        )
        said = await ours.ended(task_id)
        assert said.state is State.SUCCESS, said.error
        assert said.result is not None
        got = dict(zip(ATTACKS, json.loads(said.result), strict=True))
        assert {attack: answer for attack, answer in got.items() if answer != DENIED.__name__} == {}
        injected.over.set()
        assert (await ours.ended(victim)).result == b'"its own result"'


async def test_injected_sql_sees_no_text_of_other_sessions_and_no_secret(
    roles: Config, ours: Client, plain: psycopg.AsyncConnection[Any]
) -> None:
    """Types of its own in pg_temp come first when names are looked up: nothing that the worker
    sends may be read through them."""
    await plain.execute("create table public.spied (what text)")
    spies = [
        SPY,
        *(
            f'create domain pg_temp."{name}" as pg_catalog.{name} check (pg_temp.spy(value::pg_catalog.text))'
            for name in ("text", "uuid", "int4", "json")
        ),
        "set search_path = pg_temp, pg_catalog",
        SET_CONFIG,
        OTHERS,
        "select name, statement from pg_catalog.pg_prepared_statements where statement like '%handler_%'",
    ]
    injected = Injected()
    async with working(roles, injected.app) as worker:
        task = await ours.ended(await ours.submit("inject", statements=spies))
        assert task.state is State.SUCCESS, task.error
        assert task.result is not None
        assert task.result.count(b'"[]"') == 2, task.result
        secret = await (
            await plain.execute(
                "select secret from leaseq.workers where id = %s", (worker.worker_id,)
            )
        ).fetchall()
    assert secret[0][0]
    assert await (await plain.execute("select what from public.spied")).fetchall() == []


async def test_defaults_that_injected_sql_gives_its_own_role_do_not_reach_the_worker(
    roles: Config, ours: Client, plain: psycopg.AsyncConnection[Any]
) -> None:
    """Any role may change its own defaults: here so that a function of the attacker comes before
    the one of Postgres."""
    injected = Injected()
    persists = [
        HIJACK,
        "alter role leaseq_handler set search_path = public, pg_catalog",
        "alter role leaseq_handler set synchronous_commit = off",
        "alter role leaseq_handler set statement_timeout = '1s'",
    ]
    try:
        async with working(roles, injected.app):
            assert (
                await ours.ended(await ours.submit("inject", statements=persists))
            ).state is State.SUCCESS
        async with working(roles, injected.app):
            task = await ours.ended(
                await ours.submit(
                    "inject", statements=["show synchronous_commit", "select pg_sleep(1.5)"]
                )
            )
        assert task.state is State.SUCCESS, task.error
        assert task.result is not None
        assert json.loads(task.result) == ["[('on',)]", "[('',)]"]
    finally:
        await plain.execute("alter role leaseq_handler reset all")


async def test_reach_of_injected_sql(
    roles: Config, ours: Client, plain: psycopg.AsyncConnection[Any]
) -> None:
    """The tables of the application, and sessions of the same role, are not leaseq's to protect."""
    await plain.execute("create table public.orders (n integer)")
    injected = Injected()
    still = [
        "insert into public.orders values (1)",
        "create table public.theirs (n integer)",
        "select count(*) from pg_stat_activity where application_name like 'leaseq%'",
        "select pg_advisory_xact_lock(1)",
    ]
    async with working(roles, injected.app):
        task = await ours.ended(await ours.submit("inject", statements=still))
    assert task.result is not None
    assert b"InsufficientPrivilege" not in task.result


async def test_both_doors_out_of_processing_leave_the_same(
    roles: Config, ours: Client, worker_ledger: WorkerLedger, ledger: TaskLedger
) -> None:
    worker_id = await open_worker(worker_ledger)
    credential = Credential(worker_id, "s3cret")
    assert await worker_ledger.set_secret(worker_id, credential.secret)
    claims = [await claim_task(ledger, await submit(ledger), worker_id) for _ in range(2)]
    usual = (await ledger.settle([succeeded(claims[0])]))[claims[0].task_id]
    handlers = replace(roles, postgres_url=roles.handler_postgres_url, handler_postgres_url=None)

    async def admit(conn: FastCancelConnection) -> None:
        conn.credential = credential

    async with (
        await open_handler_pool(handlers, name="leaseq test", max_size=1, admit=admit) as pool,
        pool.connection() as conn,
    ):
        wrong = replace(claims[1], attempt=2)
        assert await ledger.succeed(wrong, b"42", conn=conn) is None, "the fence"
        settled = await ledger.succeed(claims[1], b"42", conn=conn)
        assert await ledger.succeed(claims[1], b"42", conn=conn) is None, "once"
    assert settled == replace(usual, task_id=claims[1].task_id)
    both = [await find(ledger, lease.task_id) for lease in claims]
    varies = {
        "task_id": "",
        "created_at": None,
        "run_at": None,
        "started_at": None,
        "finished_at": None,
    }
    assert replace(both[0], **varies) == replace(both[1], **varies)


async def test_a_handler_submits_under_its_role_in_and_outside_of_its_transaction(
    roles: Config, ours: Client
) -> None:
    """With keys: created, replayed within the transaction, replayed afterwards, and refused where
    the content differs."""
    app = Leaseq()

    @app.task
    async def child(n: int) -> int:
        return n

    @app.task(max_attempts=1)
    async def parent(ctx: Context) -> list[str]:
        async with ctx.transaction() as tx:
            first = await child.options(idempotency_key="one", connection=tx).submit(n=1)
            again = await child.options(idempotency_key="one", connection=tx).submit(n=1)
            other = await child.options(labels={"a": "1"}, delay=60, connection=tx).submit(n=2)
        return [first.id, again.id, other.id]

    async with working(roles, app):
        task = await ours.ended(await ours.submit("parent"))
        assert task.state is State.SUCCESS, task.error
        assert task.result is not None
        first, again, other = json.loads(task.result)
        assert first == again != other
        tasks = [await ours.find(task_id) for task_id in (first, other)]
        assert [task.state for task in tasks] == [State.SCHEDULED] * 2
        assert [task.labels for task in tasks] == [{}, {"a": "1"}]


async def test_a_secret_that_a_failover_lost_costs_no_attempt(
    roles: Config, ours: Client, plain: psycopg.AsyncConnection[Any]
) -> None:
    app = Leaseq()

    @app.task(max_attempts=1)
    async def writes(ctx: Context) -> None:
        async with ctx.transaction() as tx:
            await tx.execute("select 1")

    async with working(roles, app):
        assert (await ours.ended(await ours.submit("writes"))).state is State.SUCCESS
        await plain.execute("update leaseq.workers set secret = null")
        task_id = await ours.submit("writes")

        async def done() -> bool:
            # a hand-back may wait for a moment
            due = await promote_due(ours.engine.stores.tasks, limit=10)
            await ours.engine.stores.dispatcher.push("default", due)
            return (await ours.find(task_id)).finished_at is not None

        await until(done, seconds=30)
        task = await ours.find(task_id)
        # Two attempts, or one where the pool had made a new connection, which writes the secret
        # again.
        assert (task.state, task.retry_count) == (State.SUCCESS, 0)


async def test_a_reaper_of_another_role_ends_the_session_of_a_handler(
    roles: Config, session_postgres: str, worker_ledger: WorkerLedger
) -> None:
    with _admin(session_postgres) as admin:
        admin.execute(
            sql.SQL("create role leaseq_reaper login password {}").format(
                sql.Literal(ROLE_PASSWORD)
            )
        )
    try:
        name = await _dbname(roles)
        await grant(
            _as_superuser(session_postgres, name), RoleNames(services=(SERVICE, "leaseq_reaper"))
        )
        reapers = replace(
            roles, postgres_url=as_role(str(roles.postgres_url), "leaseq_reaper", ROLE_PASSWORD)
        )
        worker_id = await open_worker(worker_ledger)
        async with open_engine(reapers, name="leaseq test reaper") as engine:
            frozen = await psycopg.AsyncConnection.connect(
                str(roles.handler_postgres_url),
                application_name=session_name(worker_id),
                autocommit=True,
            )
            await frozen.execute("begin")
            assert await engine.recovery.recover(
                Death(worker_id=worker_id, queues=["default"], reason="it is dead")
            )
            with pytest.raises(psycopg.OperationalError):
                await frozen.execute("select 1")
            await frozen.close()
    finally:
        async with await psycopg.AsyncConnection.connect(
            _as_superuser(session_postgres, name), autocommit=True
        ) as conn:
            await conn.execute("drop owned by leaseq_reaper")
            await conn.execute("drop role leaseq_reaper")


@pytest.fixture
async def two_services(roles: Config, session_postgres: str) -> AsyncIterator[Config]:
    """The configuration of a reaper whose role is another one than the worker's."""
    superuser = _as_superuser(session_postgres, await _dbname(roles))
    with _admin(superuser) as admin:
        admin.execute(
            sql.SQL("create role leaseq_reaper login password {}").format(
                sql.Literal(ROLE_PASSWORD)
            )
        )
    await grant(superuser, RoleNames(services=(SERVICE, "leaseq_reaper")))
    yield replace(
        roles, postgres_url=as_role(str(roles.postgres_url), "leaseq_reaper", ROLE_PASSWORD)
    )
    with _admin(superuser) as admin:
        admin.execute("drop owned by leaseq_reaper")
        admin.execute("drop role leaseq_reaper")


@pytest.mark.parametrize("of", ["postgres_url", "handler_postgres_url"], ids=["service", "handler"])
async def test_a_reaper_of_another_role_recognizes_a_session_whose_name_a_handler_changed(
    roles: Config, two_services: Config, worker_ledger: WorkerLedger, of: str
) -> None:
    """By when it began, which Postgres hides from the reaper's role. A later session with the same
    pid is left alone."""
    worker_id, other = await open_worker(worker_ledger), await open_worker(worker_ledger)
    async with open_engine(two_services, name="leaseq test reaper") as engine:
        url = str(getattr(roles, of))
        frozen = await psycopg.AsyncConnection.connect(
            url, application_name="mine", autocommit=True
        )
        later = await psycopg.AsyncConnection.connect(url, application_name="mine", autocommit=True)
        for conn, late in ((frozen, 0), (later, 1)):
            session = await worker_ledger.identify_session(conn)
            await worker_ledger.register_session(
                worker_id, replace(session, backend_start=session.backend_start - timedelta(late))
            )
        assert await engine.recovery.recover(
            Death(worker_id=other, queues=["default"], reason="it is dead")
        )
        await frozen.execute("begin")
        assert await engine.recovery.recover(
            Death(worker_id=worker_id, queues=["default"], reason="it is dead")
        )
        with pytest.raises(psycopg.OperationalError):
            await frozen.execute("select 1")
        await later.execute("select 1")
        await frozen.close()
        await later.close()


async def test_sessions_that_no_reap_could_recognize_are_named_before(
    roles: Config, two_services: Config, session_postgres: str
) -> None:
    """The owner may end every session, and is no member of the role of handlers."""
    assert (await inspect_servers(two_services)).findings == []
    owner = sql.Identifier(OWNER)
    with _admin(session_postgres) as admin:
        admin.execute(sql.SQL("revoke {} from {}").format(sql.Identifier(HANDLER), owner))
        admin.execute(sql.SQL("grant pg_signal_backend to {}").format(owner))
        try:
            for reader in (roles, two_services):
                (finding,) = (await inspect_servers(reader)).findings
                assert not finding.fatal
                assert (
                    f"sessions of {HANDLER} cannot be recognized when their worker dies"
                    in finding.message
                )
            admin.execute("grant pg_read_all_stats to leaseq_reaper")
            assert (await inspect_servers(two_services)).findings == []
            admin.execute(sql.SQL("revoke pg_signal_backend from {}").format(owner))
            (finding,) = (await inspect_servers(two_services)).findings
            assert (
                f"sessions of {HANDLER} cannot be ended when their worker dies" in finding.message
            )
        finally:
            admin.execute(sql.SQL("revoke pg_signal_backend from {}").format(owner))
            admin.execute(sql.SQL("grant {} to {}").format(sql.Identifier(HANDLER), owner))


async def _dbname(config: Config) -> str:
    return str(psycopg.conninfo.conninfo_to_dict(str(config.postgres_url))["dbname"])


def _as_superuser(session_postgres: str, name: str) -> str:
    return session_postgres.rpartition("/")[0] + f"/{name}"


async def test_grants_are_made_again_without_harm_under_names_of_ones_own(
    config: Config, session_postgres: str
) -> None:
    url = _as_superuser(session_postgres, await _dbname(config))
    odd = RoleNames(owner='Own "er"', services=("it's a service",), handler="Händler %s")
    with _admin(url) as admin:
        admin.execute(
            sql.SQL("create role {} login noinherit connection limit 7 password 'kept'").format(
                sql.Identifier(odd.handler)
            )
        )
        try:
            made = [await grant(url, odd) for _ in range(3)]
            assert [sorted(lines) for lines in made] == [
                ['created role Own "er"', "created role it's a service"],
                [],
                [],
            ]
            kept = admin.execute(
                "select rolcanlogin, rolinherit, rolconnlimit from pg_roles where rolname = %s",
                (odd.handler,),
            )
            assert kept.fetchone() == (True, False, 7), "a role that exists only gets rights"
            admin.execute(
                sql.SQL("alter role {} password {}").format(
                    sql.Identifier(odd.services[0]), sql.Literal(ROLE_PASSWORD)
                )
            )
            service = replace(config, postgres_url=as_role(url, odd.services[0], ROLE_PASSWORD))
            await require_usable_servers(service)
        finally:
            for name in (odd.handler, *odd.services, str(odd.owner)):
                admin.execute(
                    sql.SQL("reassign owned by {} to leaseq_owner").format(sql.Identifier(name))
                )
                admin.execute(sql.SQL("drop owned by {}").format(sql.Identifier(name)))
                admin.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


async def test_a_role_without_rights_is_refused_with_the_reason(
    roles: Config, plain: psycopg.AsyncConnection[Any]
) -> None:
    await plain.execute("revoke update on leaseq.workers from leaseq_service")
    await plain.execute("revoke execute on function leaseq.handler_succeed from leaseq_handler")
    with pytest.raises(
        ServerUnfit,
        match=r"leaseq_service lacks update on table leaseq.workers: run `leaseq migrate --grants`",
    ) as told:
        await require_usable_servers(roles)
    assert "leaseq_handler lacks execute on function leaseq.handler_succeed" in str(told.value)
    assert [f.fatal for f in (await inspect_servers(roles)).findings] == [True, True]
    # as after a migration without grants
    await plain.execute("revoke select on leaseq.ledger from leaseq_service")
    with pytest.raises(ServerUnfit, match=r"select on table leaseq.ledger"):
        await require_usable_servers(roles)


async def test_rights_that_are_too_wide_are_doubted(
    roles: Config, session_postgres: str, plain: psycopg.AsyncConnection[Any]
) -> None:
    await plain.execute("grant select on leaseq.tasks to leaseq_handler")
    (finding,) = (await inspect_servers(roles)).findings
    assert (finding.fatal, "select on table leaseq.tasks" in finding.message) == (False, True)
    superuser = _as_superuser(session_postgres, await _dbname(roles))
    told = " ".join(
        f.message
        for f in (
            await inspect_servers(replace(roles, postgres_url=superuser, handler_postgres_url=None))
        ).findings
    )
    assert "the role leaseq is a superuser" in told
    assert "handlers use the role leaseq, so that SQL injected into one handler" in told
    report = await inspect_servers(replace(roles, handler_postgres_url=superuser))
    told = " ".join(finding.message for finding in report.findings)
    assert "the role of handlers, leaseq, is a superuser" in told


async def test_sessions_that_no_reap_could_end_are_named_before(
    roles: Config, config: Config, session_postgres: str
) -> None:
    superuser = _as_superuser(session_postgres, await _dbname(roles))
    async with await psycopg.AsyncConnection.connect(
        superuser, application_name=session_name("someone")
    ):
        (finding,) = (await inspect_servers(roles)).findings
    assert "sessions of leaseq cannot be ended when their worker dies" in finding.message


async def test_a_handler_url_of_another_database_is_refused(
    roles: Config, other_postgres_url: str
) -> None:
    other = replace(roles, handler_postgres_url=as_role(other_postgres_url, HANDLER, ROLE_PASSWORD))
    with pytest.raises(ServerUnfit, match="leads to another database"):
        await require_usable_servers(other)
    with pytest.raises(ConfigInvalid, match="LEASEQ_POSTGRES_URL is not"):
        Config(handler_postgres_url=str(roles.handler_postgres_url))


async def test_no_service_and_no_handler_is_a_superuser_on_the_embedded_server(
    config: Config, data_dir: Path
) -> None:
    with embedded_servers(Config(data_dir=data_dir, redis_url=config.redis_url)) as servers:
        ready = await prepare_embedded(servers)
        assert (await prepare_embedded(servers)) == ready, "again at every start"
        await require_usable_servers(ready)
        assert (await inspect_servers(ready)).findings == []
        async with await open_pool(ready, name="leaseq test", max_size=1) as pool:
            found = await find_service_role(Session(pool, deadline_seconds=10))
        assert (found.name, found.is_superuser, found.is_owner) == (SERVICE, False, False)
        app = Leaseq()

        @app.task(max_attempts=1)
        async def makes_a_table(ctx: Context) -> None:
            async with ctx.transaction() as tx:
                await tx.execute("create table orders (n integer)")

        async with working(ready, app), open_engine(ready, name="leaseq test") as engine:
            client = Client(engine, ready)
            task = await client.ended(await client.submit("makes_a_table"))
            assert task.state is State.SUCCESS, task.error
