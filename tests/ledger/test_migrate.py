"""Does the schema come to be whole, once, and only under code that knows it?"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from fix_servers import _admin, _database_url
from leaseq.errors import SchemaMismatch, ServerUnreachable
from leaseq.ledger.schema import LATEST, MIGRATIONS, migrate, require_schema, schema_version

ALL = [f"{migration.version:04}_{migration.name}" for migration in MIGRATIONS]
_numbers = itertools.count(1)


@pytest.fixture
def bare(session_postgres: str) -> Iterator[str]:
    """The URL of a database with nothing in it."""
    name = f"leaseq_test_bare_{next(_numbers)}"
    with _admin(session_postgres) as admin:
        admin.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    yield _database_url(session_postgres, name)
    with _admin(session_postgres) as admin:
        admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


async def test_from_nothing_to_the_latest_and_no_further(bare: str) -> None:
    assert await schema_version(bare) == 0
    with pytest.raises(SchemaMismatch, match="leaseq migrate"):
        await require_schema(bare)

    assert await migrate(bare) == ALL

    assert await schema_version(bare) == LATEST
    await require_schema(bare)
    assert await migrate(bare) == []


async def test_several_migrators_at_once_apply_each_migration_once(bare: str) -> None:
    applied = await asyncio.gather(*(migrate(bare) for _ in range(4)))

    assert sorted(name for names in applied for name in names) == ALL


async def test_a_migrator_that_is_killed_leaves_nothing_behind(bare: str) -> None:
    """Killed as late as can be: the schema is there, and not committed."""
    async with await psycopg.AsyncConnection.connect(bare) as conn:
        await conn.execute("create schema leaseq")
        await conn.execute(MIGRATIONS[0].sql.encode())
        migrating = asyncio.create_task(migrate(bare))
        async with await psycopg.AsyncConnection.connect(bare, autocommit=True) as killer:
            while True:
                cursor = await killer.execute(
                    "select pg_terminate_backend(%s) from pg_stat_activity where application_name = 'leaseq migrate'"
                    " and wait_event_type = 'Lock'",
                    [conn.info.backend_pid],
                )
                if await cursor.fetchall():
                    break
        assert await migrating == ALL
        with pytest.raises(psycopg.OperationalError):
            await conn.execute("select 1")
    await require_schema(bare)


async def test_a_schema_newer_than_the_code_is_refused(bare: str) -> None:
    await migrate(bare)
    with psycopg.connect(bare, autocommit=True) as conn:
        conn.execute("insert into leaseq.migrations (version, name, checksum) values (%s, 'later', 'x')", [LATEST + 1])

    for refused in (migrate(bare), schema_version(bare), require_schema(bare)):
        with pytest.raises(SchemaMismatch, match="newer than this code"):
            await refused


async def test_a_migration_that_was_changed_afterwards_is_refused(bare: str) -> None:
    await migrate(bare)
    with psycopg.connect(bare, autocommit=True) as conn:
        conn.execute("update leaseq.migrations set checksum = 'x' where version = 1")

    with pytest.raises(SchemaMismatch, match="not the one of this code"):
        await require_schema(bare)


async def test_no_postgres_is_unreachable() -> None:
    with pytest.raises(ServerUnreachable):
        await schema_version("postgresql://leaseq@127.0.0.1:1/leaseq")
