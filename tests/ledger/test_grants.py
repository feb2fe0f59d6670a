"""Rights that are given while services work."""

from __future__ import annotations

import asyncio

import psycopg

from fix_servers import admin_url
from fix_worker import until
from leaseq.config import Config
from leaseq.ledger.roles import RoleNames, grant

TABLES = "select c.oid::regclass::text from pg_class as c where c.relnamespace = 'leaseq'::regnamespace and c.relkind = 'r'"


async def test_grants_that_meet_a_transaction_of_a_service_try_again(config: Config) -> None:
    """The service has read the table that the grants come to last, and then reads one that they have locked."""
    url = admin_url(config)
    async with await psycopg.AsyncConnection.connect(url) as service, await psycopg.AsyncConnection.connect(url) as watcher:
        await watcher.set_autocommit(True)
        await watcher.execute("create role somewhere_else")
        try:
            tables = [row[0] for row in await (await watcher.execute(TABLES)).fetchall()]
            await service.execute("set deadlock_timeout = '1min'")  # the grants are the ones that notice
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


async def _waits(conn: psycopg.AsyncConnection[tuple[object, ...]], table: str) -> bool:
    found = await conn.execute("select from pg_locks where relation = %s::regclass and not granted", [table])
    return found.rowcount > 0
