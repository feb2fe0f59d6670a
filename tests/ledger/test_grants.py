"""Rights that are given while services work."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from leaseq.config import Config
from leaseq.ledger import schema
from leaseq.ledger.roles import RoleNames, grant
from leaseq.server_checks.startup import inspect_servers
from support.servers import admin_url, with_roles
from support.worker import until

WITH_ROLES = 10  # 0010_roles.sql
TABLES = "select c.oid::regclass::text from pg_class as c where c.relnamespace = 'leaseq'::regnamespace and c.relkind = 'r'"


async def test_grants_that_meet_a_transaction_of_a_service_try_again(config: Config) -> None:
    """The service has read the table that the grants come to last, and then reads one that they
    have locked."""
    url = admin_url(config)
    async with (
        await psycopg.AsyncConnection.connect(url) as service,
        await psycopg.AsyncConnection.connect(url) as watcher,
    ):
        await watcher.set_autocommit(True)
        await watcher.execute("create role somewhere_else")
        try:
            tables = [row[0] for row in await (await watcher.execute(TABLES)).fetchall()]
            # the grants are the ones that notice
            await service.execute("set deadlock_timeout = '1min'")
            await service.execute(f"lock table {tables[-1]} in access share mode")
            granting = asyncio.create_task(grant(url, RoleNames(owner="somewhere_else")))
            await until(lambda: _waits(watcher, tables[-1]), seconds=30)
            await service.execute(f"lock table {tables[0]} in access share mode")
            await service.rollback()
            await asyncio.wait_for(granting, 60)
            cursor = await watcher.execute(
                "select count(*) from pg_tables where schemaname = 'leaseq' and tableowner = 'somewhere_else'"
            )
            assert await cursor.fetchone() == (len(tables),)
        finally:
            await watcher.execute("reassign owned by somewhere_else to leaseq_owner")
            await watcher.execute("drop owned by somewhere_else")
            await watcher.execute("drop role somewhere_else")


async def test_a_migration_after_the_grants_lacks_no_right(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The grants are from the first version that has roles."""
    url = admin_url(config)
    async with await psycopg.AsyncConnection.connect(url) as conn:
        await conn.execute("drop schema leaseq cascade")
    with monkeypatch.context() as patch:
        patch.setattr(
            schema, "MIGRATIONS", [each for each in schema.MIGRATIONS if each.version <= WITH_ROLES]
        )
        await schema.migrate(url)
    await grant(url, RoleNames())
    assert await schema.migrate(url) != []
    assert [
        finding for finding in (await inspect_servers(with_roles(config))).findings if finding.fatal
    ] == []


async def _waits(conn: psycopg.AsyncConnection[tuple[object, ...]], table: str) -> bool:
    found = await conn.execute(
        "select from pg_locks where relation = %s::regclass and not granted", [table]
    )
    return found.rowcount > 0
