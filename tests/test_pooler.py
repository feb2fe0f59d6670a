"""Session poolers work, and every other pooler is refused with a reason."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest

from leaseq import Context, Leaseq
from leaseq.cli.exit_codes import FAILED, REFUSED
from leaseq.config import Config
from leaseq.errors import ServerUnfit, ServerUnreachable
from leaseq.ledger.schema import migrate
from leaseq.model import State
from leaseq.server_checks.startup import inspect_servers, require_usable_servers
from support.client import Client
from support.pgbouncer import PoolTo
from support.processes import Services
from support.servers import admin_url, at
from support.worker import working

UNFIT: dict[str, dict[str, Any]] = {
    "transaction": {"pool_mode": "transaction"},
    "transaction, in turn": {
        "pool_mode": "transaction",
        "server_round_robin": 1,
        "min_pool_size": 5,
    },
    "transaction, one session": {"pool_mode": "transaction", "default_pool_size": 1},
    "statement": {"pool_mode": "statement"},
    "session, never reset": {"pool_mode": "session", "server_reset_query": ""},
    "session, settings reset only": {"pool_mode": "session", "server_reset_query": "RESET ALL"},
}


@pytest.mark.parametrize("settings", UNFIT.values(), ids=UNFIT)
async def test_a_pooler_that_mixes_sessions_is_refused_by_everything(
    settings: dict[str, Any], config: Config, pgbouncer: PoolTo
) -> None:
    url = pgbouncer(str(config.postgres_url), **settings)
    pooled = at(config, url)
    for start in (require_usable_servers(pooled), migrate(url), Leaseq(pooled).__aenter__()):
        with pytest.raises(
            ServerUnfit, match="pool_mode = session and server_reset_query = DISCARD ALL"
        ):
            await start
    (finding,) = (await inspect_servers(pooled)).findings
    assert finding.fatal
    assert "pooler" in finding.message


@pytest.mark.parametrize(
    "command",
    [["api", "--port", "0"], ["worker", "apps.probe:app"], ["reaper"], ["migrate"], ["check"]],
)
async def test_each_command_refuses_to_start_on_transaction_mode(
    command: list[str], config: Config, pgbouncer: PoolTo
) -> None:
    url = pgbouncer(str(config.postgres_url), pool_mode="transaction")
    services = Services(at(config, url))
    try:
        service = await services.start(*command)
        assert await service.ended() == (FAILED if command == ["check"] else REFUSED)
    finally:
        await services.destroy()
    if command != ["check"]:  # which prints its findings
        assert "a pooler" in service.other[-1]


async def test_everything_works_through_session_mode_and_nothing_leaks(
    config: Config, pgbouncer: PoolTo, client: Client
) -> None:
    url = pgbouncer(admin_url(config), pool_mode="session")
    pooled = at(config, url)
    await require_usable_servers(pooled)
    findings = (await inspect_servers(pooled)).findings
    assert [
        finding.fatal for finding in findings if "a pooler in session mode" in finding.message
    ] == [False]
    assert await migrate(url) == []
    app = Leaseq()

    @app.task
    async def writes(ctx: Context) -> None:
        async with ctx.transaction() as tx:
            await tx.execute("insert into effects values (%s, %s, 0)", (ctx.task_id, ctx.attempt))

    async with working(pooled, app):
        ids = await client.submit_many("writes", 20)
        assert {task.state for task in await client.all_ended(ids)} == {State.SUCCESS}
    for task_id in ids:
        assert await client.effects(task_id) == 1
    usual = await _settings(str(config.postgres_url))
    async with await psycopg.AsyncConnection.connect(
        str(pooled.postgres_url), autocommit=True
    ) as holder:
        await holder.execute("set statement_timeout = '1d'")
    for _ in range(5):
        found = await _settings(str(pooled.postgres_url))
        assert found == usual, "a stranger gets a session that leaseq has used, with its defaults"


async def test_session_pooler_without_a_free_session_is_named(
    config: Config, pgbouncer: PoolTo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leaseq.connections.pooler_probe.WAIT_SECONDS", 1.0)
    url = pgbouncer(str(config.postgres_url), pool_mode="session", default_pool_size=1)
    with pytest.raises(ServerUnreachable, match="pool_size must be larger"):
        await require_usable_servers(at(config, url), patience_seconds=0)


async def _settings(url: str) -> list[tuple[Any, ...]]:
    async with await psycopg.AsyncConnection.connect(
        url, autocommit=True, prepare_threshold=None
    ) as conn:
        names = "'statement_timeout', 'lock_timeout', 'enable_seqscan', 'search_path', 'synchronous_commit', 'array_nulls'"
        query = f"select name, setting from pg_settings where name in ({names}) order by name"
        return await (await conn.execute(query.encode())).fetchall()


async def test_a_direct_connection_is_not_taken_for_a_pooler(config: Config) -> None:
    assert [
        finding
        for finding in (await inspect_servers(config)).findings
        if "pooler" in finding.message
    ] == []
    await asyncio.gather(*(require_usable_servers(config) for _ in range(3)))
