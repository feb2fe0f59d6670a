"""Connections lead to the primary only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import psycopg
import pytest
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.connections.postgres import open_pool
from leaseq.connections.postgres_pool import Pool
from leaseq.connections.primary import Timeline, learn_timeline, newest_timeline
from leaseq.errors import ServerUnreachable
from leaseq.ledger.session import Session
from leaseq.ledger.tasks import TaskLedger
from leaseq.observability.telemetry import recorded
from leaseq.operations.engine import Engine
from leaseq.operations.open_engine import open_engine
from support.api import Api, open_api, problem
from support.ledger import RETENTION, submission
from support.processes import PATIENCE
from support.proxy import ProxyTo
from support.servers import Pair
from support.worker import until

# Two servers of its own for each test.
TIMELINE = "select ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int"
END_SESSIONS = (
    "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'leaseq%'"
)
SYSTEM = "select system_identifier::text from pg_control_system()"


@pytest.fixture
def one(config: Config) -> Callable[[str], Config]:
    """The configuration of a process that knows Postgres by this URL."""
    return lambda url: replace(config, postgres_url=url, statement_timeout_seconds=3)


async def ask(url: str, query: str) -> object:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as conn:
        return (await (await conn.execute(query.encode())).fetchall())[0][0]


async def ask_all(pool: Pool, query: str) -> set[object]:
    """The answers of every connection of a pool."""
    conns = [await pool.getconn() for _ in range(pool.max_size)]
    try:
        return {(await (await conn.execute(query.encode())).fetchall())[0][0] for conn in conns}
    finally:
        for conn in conns:
            await pool.putconn(conn)


def pool_of(engine: Engine) -> Pool:
    return engine.stores.tasks._session.pool


async def submit_soon(engine: Engine) -> str:
    """Submit as a client does: again, until it is accepted."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return (await engine.submit(submission())).task_id
            except ServerUnreachable:
                await asyncio.sleep(0.05)


async def is_in(url: str, task_id: str) -> bool:
    return bool(await ask(url, f"select count(*) = 1 from leaseq.tasks where id = '{task_id}'"))


async def _is_accepted(api: Api) -> bool:
    return (await api.submit()).status_code == 202


async def _waits_for_a_lock(pair: Pair) -> bool:
    return bool(await ask(pair.primary.url, "select count(*) > 0 from pg_locks where not granted"))


@pytest.mark.parametrize(
    "attributes", ["", "target_session_attrs=read-write", "target_session_attrs=any"]
)
async def test_of_two_hosts_the_primary_is_found(
    one: Callable[[str], Config], pair: Pair, attributes: str
) -> None:
    async with open_engine(one(pair.both(first="standby", attributes=attributes))) as engine:
        assert await is_in(pair.primary.url, await submit_soon(engine))
        pair.primary.kill()
        pair.standby.promote()
        assert await is_in(pair.standby.url, await submit_soon(engine))


async def test_an_address_that_leads_to_a_standby_for_a_while(
    one: Callable[[str], Config], pair: Pair, proxy_to: ProxyTo
) -> None:
    proxy = await proxy_to(pair.primary.url)
    async with open_api(one(proxy.url)) as api:
        proxy.lead_to(pair.standby.url)
        proxy.cut()
        problem(await api.submit(), "server_unreachable")
        assert (
            problem(await api.client.get("/health/ready"), "not_ready")["postgres"] == "read only"
        )
        proxy.lead_to(pair.primary.url)
        await until(lambda: _is_accepted(api), seconds=PATIENCE)
        assert (await api.get("/health/ready"))["postgres"] == "up"


async def test_sessions_that_were_opened_in_a_read_only_window_do_not_outlast_it(
    one: Callable[[str], Config], pair: Pair
) -> None:
    async with (
        await psycopg.AsyncConnection.connect(pair.primary.url, autocommit=True) as admin,
        open_engine(one(pair.primary.url)) as engine,
    ):
        await engine.submit(submission())
        await admin.execute("alter database postgres set default_transaction_read_only = on")
        await admin.execute(END_SESSIONS)
        with pytest.raises(ServerUnreachable):
            await engine.submit(submission())
        await admin.execute("set default_transaction_read_only = off")
        await admin.execute("alter database postgres reset default_transaction_read_only")
        await submit_soon(engine)


async def test_a_session_that_answers_read_only_is_given_up(config: Config) -> None:
    pool = await open_pool(config, name="leaseq test", max_size=1)
    ledger = TaskLedger(Session(pool, deadline_seconds=5))
    async with pool.connection() as conn:
        await conn.execute("set default_transaction_read_only = on")
    wanted = submission()
    with recorded() as events:
        assert (await ledger.submit([wanted], retention_seconds=RETENTION))[
            wanted.task_id
        ] is not None
    assert [event.name for event in events] == ["ledger.left"]
    await pool.close()


@pytest.mark.parametrize("moves", [True, False], ids=["the address moves", "two hosts in the URL"])
async def test_an_old_primary_that_lives_on_is_left(
    one: Callable[[str], Config], pair: Pair, proxy_to: ProxyTo, moves: bool
) -> None:
    """By every connection, as soon as one connection of the process has seen the new timeline."""
    proxy = await proxy_to(pair.primary.url)
    async with open_engine(one(proxy.url if moves else pair.both()), pool_size=3) as engine:
        assert await ask_all(pool_of(engine), TIMELINE) == {1}
        pair.standby.promote()
        proxy.lead_to(pair.standby.url)
        with recorded() as events:
            # The news comes with a connection that another part of the process makes.
            other = await open_pool(one(pair.standby.url), name="leaseq test", max_size=1)
            async with other.connection():
                task_id = await submit_soon(engine)
            assert await is_in(pair.standby.url, task_id)
            assert not await is_in(pair.primary.url, task_id)
            assert await ask_all(pool_of(engine), TIMELINE) == {2}
        assert [event.fields["connections"] for event in events if event.name == "ledger.left"] == [
            3
        ]
        await other.close()


async def test_an_old_primary_is_left_though_nothing_else_makes_a_connection(
    one: Callable[[str], Config], pair: Pair, proxy_to: ProxyTo
) -> None:
    """Open connections stay where they are when an address moves, and answer as before."""
    proxy = await proxy_to(pair.primary.url)
    async with open_engine(one(proxy.url), pool_size=3) as engine:
        assert await ask_all(pool_of(engine), TIMELINE) == {1}
        with recorded() as events:
            pair.standby.promote()
            proxy.lead_to(pair.standby.url)
            await until(
                lambda: any(event.name == "ledger.left" for event in events), seconds=PATIENCE
            )
        assert await is_in(pair.standby.url, await submit_soon(engine))


async def test_writes_on_an_old_primary_are_not_acknowledged(
    one: Callable[[str], Config], pair: Pair
) -> None:
    """The newer timeline becomes known while a statement runs on the old primary."""
    async with (
        open_engine(one(pair.primary.url)) as engine,
        await psycopg.AsyncConnection.connect(pair.primary.url) as blocker,
    ):
        await engine.submit(submission())
        await blocker.execute("lock table leaseq.tasks")
        submitting = asyncio.create_task(engine.submit(submission()))
        await until(lambda: _waits_for_a_lock(pair), seconds=PATIENCE)
        learn_timeline(Timeline(str(await ask(pair.primary.url, SYSTEM)), 7))
        with pytest.raises(ServerUnreachable):
            await submitting
        with pytest.raises(ServerUnreachable):
            await engine.submit(submission())


async def test_a_postgres_that_does_not_tell_who_it_is_is_judged_by_its_writes_alone(
    one: Callable[[str], Config], pair: Pair
) -> None:
    system = str(await ask(pair.primary.url, SYSTEM))
    async with await psycopg.AsyncConnection.connect(pair.primary.url, autocommit=True) as admin:
        await admin.execute("create role plain login password 'plain'")
        await admin.execute("grant all on schema leaseq to plain")
        await admin.execute("grant all on all tables in schema leaseq to plain")
        await admin.execute("revoke execute on function pg_control_system from public")
    before = newest_timeline(system)
    url = pair.both(first="standby").replace(
        pair.primary.url.split("//")[1].split("@")[0], "plain:plain"
    )
    async with open_engine(one(url)) as engine:
        assert await is_in(pair.primary.url, await submit_soon(engine))
    assert newest_timeline(system) == before
