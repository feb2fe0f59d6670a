"""Migrations are complete or absent, under concurrency and kills."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from leaseq.errors import SchemaMismatch, ServerUnfit
from leaseq.ledger import schema
from leaseq.ledger.schema import (
    LATEST,
    MIGRATIONS,
    Migration,
    migrate,
    require_schema,
    schema_version,
)

MIGRATOR = "import asyncio, sys; from leaseq.ledger.schema import migrate; asyncio.run(migrate(sys.argv[1]))"
NAMES = [f"{migration.version:04}_{migration.name}" for migration in MIGRATIONS]


@pytest.fixture
async def url(postgres_url: str) -> str:
    """A database without the schema."""
    async with await psycopg.AsyncConnection.connect(postgres_url) as conn:
        await conn.execute("drop schema leaseq cascade")
    return postgres_url


async def test_from_nothing_to_the_latest_and_then_nothing(url: str) -> None:
    assert await schema_version(url) == 0
    with pytest.raises(SchemaMismatch, match="leaseq migrate"):
        await require_schema(url)

    assert await migrate(url) == NAMES
    assert await migrate(url) == []

    assert await schema_version(url) == LATEST
    await require_schema(url)


async def test_many_at_once_apply_each_migration_once(url: str) -> None:
    applied = await asyncio.gather(*(migrate(url) for _ in range(5)))
    assert sorted(name for names in applied for name in names) == NAMES


async def test_a_migrator_that_is_killed_leaves_no_lock_and_no_half_schema(
    url: str, eventually: Callable[..., Any]
) -> None:
    async with await psycopg.AsyncConnection.connect(url) as holder:
        await holder.execute("select pg_advisory_xact_lock(7822417320451)")
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", MIGRATOR, url)
        try:
            await eventually(lambda: _waits_for_the_lock(url))
            process.send_signal(signal.SIGKILL)
        finally:
            await process.wait()
    assert await schema_version(url) == 0
    assert await migrate(url) == NAMES


async def test_a_migration_that_was_changed_afterwards_is_refused(url: str) -> None:
    await migrate(url)
    async with await psycopg.AsyncConnection.connect(url) as conn:
        await conn.execute("update leaseq.migrations set checksum = 'another' where version = 1")
    for ask in (migrate, require_schema):
        with pytest.raises(SchemaMismatch, match="migration 1"):
            await ask(url)


async def _waits_for_the_lock(url: str) -> bool:
    async with await psycopg.AsyncConnection.connect(url) as conn:
        cursor = await conn.execute(
            "select count(*) from pg_locks where locktype = 'advisory' and not granted"
        )
        return bool((await cursor.fetchall())[0][0])


async def test_a_migration_that_waits_for_a_lock_lets_others_work_meanwhile(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dump reads `tasks` for hours. A migration that waited behind it would stop every claim
    behind itself."""
    monkeypatch.setattr(schema, "LOCK_MILLISECONDS", 200)
    monkeypatch.setattr(schema, "REST_SECONDS", 0.2)
    step = Migration(
        LATEST + 1, "alters", "alter table leaseq.tasks add column more integer", "checksum"
    )
    monkeypatch.setattr(schema, "MIGRATIONS", [*MIGRATIONS, step])
    monkeypatch.setattr(schema, "LATEST", step.version)
    told: list[str] = []
    twice = asyncio.Event()

    def waiting(said: str) -> None:
        told.append(said)
        if len(told) == 2:
            twice.set()

    async with (
        await psycopg.AsyncConnection.connect(postgres_url, application_name="pg_dump") as dump,
        await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as other,
    ):
        await dump.execute("lock table leaseq.tasks in access share mode")
        migrating = asyncio.create_task(migrate(postgres_url, waiting=waiting))
        await twice.wait()
        await other.execute("select count(*) from leaseq.tasks")  # in the rest between two tries
        await dump.rollback()
        assert await migrating == [f"{step.version:04}_alters"]
    assert all("pg_dump" in said and "waits for a lock" in said for said in told[:2])


async def test_a_lock_that_is_not_let_go_ends_a_migration_with_its_holder(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "LOCK_MILLISECONDS", 50)
    monkeypatch.setattr(schema, "WAIT_SECONDS", 0.0)
    step = Migration(
        LATEST + 1, "alters", "alter table leaseq.tasks add column more integer", "checksum"
    )
    monkeypatch.setattr(schema, "MIGRATIONS", [*MIGRATIONS, step])
    monkeypatch.setattr(schema, "LATEST", step.version)
    async with await psycopg.AsyncConnection.connect(
        postgres_url, application_name="somebody's psql"
    ) as person:
        await person.execute("select from leaseq.tasks")
        with pytest.raises(ServerUnfit, match=r"somebody's psql.*end that transaction"):
            await migrate(postgres_url)
