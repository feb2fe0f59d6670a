"""A server that takes no writes is refused at the start, with the reason."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from urllib.parse import urlsplit

import psycopg
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from leaseq import Leaseq
from leaseq.cli import main
from leaseq.config import Config
from leaseq.connections.postgres import open_pool
from leaseq.errors import LeaseqError, ServerUnfit, ServerUnreachable
from leaseq.ledger.due_tasks import DueTaskLedger
from leaseq.ledger.roles import SERVICE, RoleNames, grant
from leaseq.ledger.schema import LATEST, migrate, schema_version
from leaseq.ledger.session import Session
from leaseq.operations.open_engine import open_engine
from leaseq.server_checks.startup import inspect_servers, require_usable_servers
from support.processes import Services
from support.servers import Pair, free_port

# Longer than any machine takes to connect: a process that waits for it is too late.
STATEMENT_SECONDS = 60
READ_ONLY = "alter database postgres set default_transaction_read_only = on"


@pytest.fixture(params=["a read-only primary", "a standby", "two standbys"])
async def unwritable(request: pytest.FixtureRequest, config: Config, pair: Pair) -> Config:
    """The configuration of a process whose address leads to servers that take no writes."""
    url = pair.standby.url
    if request.param == "a read-only primary":
        url = pair.primary.url
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as admin:
            await admin.execute(READ_ONLY.encode())
    elif request.param == "two standbys":
        parts = urlsplit(url)
        url = parts._replace(netloc=f"{parts.netloc},{parts.hostname}:{parts.port}").geturl()
    return replace(config, postgres_url=url, statement_timeout_seconds=STATEMENT_SECONDS)


@asynccontextmanager
async def refused_at_once(error: type[LeaseqError]) -> AsyncIterator[None]:
    began = monotonic()
    with pytest.raises(error, match=r"takes no writes|read.only"):
        yield
    assert monotonic() - began < STATEMENT_SECONDS / 2, "it waited for a pool"


@pytest.mark.slow("a pair of servers for each reason")
async def test_everything_that_opens_names_the_reason_at_once(unwritable: Config) -> None:
    async with refused_at_once(ServerUnreachable), open_engine(unwritable):
        pass
    async with refused_at_once(ServerUnreachable), Leaseq(unwritable):
        pass
    async with refused_at_once(ServerUnreachable):
        await migrate(str(unwritable.postgres_url))
    async with refused_at_once(ServerUnfit):
        await require_usable_servers(unwritable)
    (finding,) = [
        finding for finding in (await inspect_servers(unwritable)).findings if finding.fatal
    ]
    assert (
        "takes no writes" in finding.message
        or "default_transaction_read_only is on" in finding.message
    )


async def granted(url: str) -> bool:
    """May the role of the services use the schema?"""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as admin:
        cursor = await admin.execute(
            "select has_schema_privilege(%s, 'leaseq', 'usage')", [SERVICE]
        )
        (row,) = await cursor.fetchall()
        return bool(row[0])


async def test_of_two_hosts_the_schema_of_the_primary_is_read_and_migrated(pair: Pair) -> None:
    both = pair.both(first="standby")
    async with await psycopg.AsyncConnection.connect(pair.primary.url, autocommit=True) as admin:
        await admin.execute("drop schema if exists leaseq cascade")
    assert await schema_version(both) == 0
    assert len(await migrate(both)) == LATEST
    await grant(both, RoleNames())
    assert await granted(pair.primary.url)
    assert await schema_version(both) == LATEST
    assert await schema_version(pair.primary.url) == LATEST


async def test_an_old_primary_is_not_migrated(pair: Pair) -> None:
    pair.standby.promote()
    assert await migrate(pair.standby.url) == []
    with pytest.raises(ServerUnreachable, match="is an old primary"):
        await migrate(pair.primary.url)


def test_a_command_names_the_reason(config: Config, pair: Pair) -> None:
    there = replace(
        config, postgres_url=pair.standby.url, statement_timeout_seconds=STATEMENT_SECONDS
    )
    result = CliRunner().invoke(main, ["list"], env=there.to_env())
    assert result.exit_code == 4
    said = " ".join(result.output.split())
    assert "the Postgres that answers is a standby, which takes no writes" in said


@pytest.mark.slow("a pair of servers for each service")
@pytest.mark.parametrize("service", ["api", "reaper", "worker"])
async def test_a_service_on_a_standby_ends_with_the_reason(
    config: Config, pair: Pair, service: str
) -> None:
    services = Services(
        replace(config, postgres_url=pair.standby.url, statement_timeout_seconds=STATEMENT_SECONDS)
    )
    arguments = {"api": ["--port", str(free_port())], "worker": ["apps.probe:app"], "reaper": []}[
        service
    ]
    started = await services.start(service, *arguments)
    try:
        assert await started.ended(timeout=STATEMENT_SECONDS / 2) == 5
        assert any("is a standby, which takes no writes" in line for line in started.other)
    finally:
        await services.destroy()


async def test_a_pool_without_a_primary_tells_why(config: Config, pair: Pair) -> None:
    """A pool that waits for a connection says only that it has waited."""
    slow = replace(config, postgres_url=pair.standby.url, statement_timeout_seconds=2)
    pool = await open_pool(slow, name="leaseq test", max_size=1, wait=False)
    with pytest.raises(
        ServerUnreachable, match=r"^the Postgres that answers is a standby, which takes no writes"
    ):
        await DueTaskLedger(Session(pool, deadline_seconds=60)).find_due()
    await pool.close()
