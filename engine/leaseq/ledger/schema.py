"""Check and migrate the schema in Postgres.

Migrations are plain SQL files, append only, applied in order, each in one transaction under an
advisory lock that ends with the transaction: a migrator killed at any point leaves the schema at a
whole version and no lock behind (docs/decisions/0002-migrations.md). A schema newer than the code
is refused: an old worker must not write to it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from time import monotonic

import psycopg
from msgspec import Struct

from leaseq.connections.pooler_probe import probe_for_pooler
from leaseq.connections.postgres import SESSION
from leaseq.connections.postgres_connection import FastCancelConnection
from leaseq.connections.primary import primary_at
from leaseq.errors import SchemaMismatch, ServerUnfit
from leaseq.ledger.session import unreachable
from leaseq.ledger.statements import STATEMENTS


class Migration(Struct, frozen=True):
    """One migration file."""

    version: int
    name: str
    sql: str
    checksum: str


def load_migrations() -> list[Migration]:
    """Every migration, in order. File names are `NNNN_name.sql`, without gaps."""
    folder = files("leaseq.ledger") / "migrations"
    entries = sorted((e for e in folder.iterdir() if e.name.endswith(".sql")), key=lambda e: e.name)
    migrations = []
    for entry in entries:
        number, _, name = entry.name.removesuffix(".sql").partition("_")
        sql = entry.read_text(encoding="utf-8")
        migrations.append(
            Migration(int(number), name, sql, hashlib.sha256(sql.encode()).hexdigest())
        )
    return migrations


# How long a step of a migration waits for a lock at a time, how long it rests in between, and how
# long it tries.
LOCK_MILLISECONDS = 1000
REST_SECONDS = 5.0
WAIT_SECONDS = 600.0

MIGRATIONS = load_migrations()
LATEST = MIGRATIONS[-1].version


async def migrate(conninfo: str, *, waiting: Callable[[str], None] | None = None) -> list[str]:
    """Bring the schema up to this code. Returns the names of the migrations that were applied; an
    empty list means nothing to do.

    A step that waits for the lock of a table makes every claim wait behind it. So it waits for a
    second, gives up, and tries again after a rest, for ten minutes in all: `waiting` is called with
    the holder of the lock (a dump, say). Raises `ServerUnfit` after that.
    """
    applied = []
    until = monotonic() + WAIT_SECONDS
    async with connected(conninfo) as conn:
        await conn.execute(STATEMENTS["become_owner"].encode())
        for migration in MIGRATIONS:
            while True:
                try:
                    if await _apply(conn, migration):
                        applied.append(f"{migration.version:04}_{migration.name}")
                    break
                except psycopg.errors.LockNotAvailable:
                    message = (
                        f"migration {migration.version} waits for a lock: {await _lockers(conn)}"
                    )
                    if monotonic() > until:
                        raise ServerUnfit(
                            f"{message}; end that transaction, then run `leaseq migrate` again"
                        ) from None
                    if waiting is not None:
                        waiting(message)
                    await asyncio.sleep(REST_SECONDS)
    return applied


async def _apply(conn: psycopg.AsyncConnection[tuple[object, ...]], migration: Migration) -> bool:
    """One step, in one transaction. False: it was there already."""
    async with conn.transaction():
        await lock_schema(conn)
        await conn.execute(STATEMENTS["create_migrations"].encode())
        present = await _present(conn)
        _compare(present)
        if migration.version in present:
            return False
        await conn.execute(
            STATEMENTS["limit_lock_waits"].encode(), {"milliseconds": str(LOCK_MILLISECONDS)}
        )
        await conn.execute(migration.sql.encode())
        await conn.execute(
            STATEMENTS["record_migration"].encode(),
            {"version": migration.version, "name": migration.name, "checksum": migration.checksum},
        )
        return True


async def _lockers(conn: psycopg.AsyncConnection[tuple[object, ...]]) -> str:
    cursor = await conn.execute(STATEMENTS["find_table_lockers"].encode())
    found = [
        f"process {pid} of role {role} ({application or 'no name'})"
        + ("" if seconds is None else f" has had a transaction open for {seconds} s")
        for pid, role, application, seconds in await cursor.fetchall()
    ]
    return "; ".join(found) or "its holder has let go"


async def schema_version(conninfo: str) -> int:
    """The version of the schema; 0 where there is none. Raises `SchemaMismatch` if it is not ours
    or newer than this code."""
    async with connected(conninfo) as conn:
        try:
            present = await _present(conn)
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
            return 0
        _compare(present)
        return max(present, default=0)


async def require_schema(conninfo: str) -> None:
    """Refuse to run on a schema that is older or newer than this code."""
    version = await schema_version(conninfo)
    if version < LATEST:
        raise SchemaMismatch(
            f"the schema is at version {version}, this code needs {LATEST}: run `leaseq migrate`"
        )


@asynccontextmanager
async def connected(conninfo: str) -> AsyncIterator[psycopg.AsyncConnection[tuple[object, ...]]]:
    """A separate connection to the primary, of the hosts in `conninfo`. A refusal by Postgres is
    raised as `ServerUnreachable` or `ServerUnfit`.

    Its statements may take as long as they need: an index is built on a table of any size.
    """
    primary = primary_at(conninfo)

    async def connect() -> psycopg.AsyncConnection[tuple[object, ...]]:
        return await FastCancelConnection.connect(
            conninfo,
            primary=primary,
            autocommit=True,
            client_encoding="UTF8",
            connect_timeout=5,
            application_name="leaseq migrate",
        )

    try:
        async with await connect() as conn:
            await probe_for_pooler(conn, connect)
            # Under a stricter isolation, a migrator that has waited for another would not see what
            # that one has done.
            await conn.execute(
                SESSION, {"statement_timeout": "0", "lock_timeout": "0", "for_handlers": False}
            )
            yield conn
    except (psycopg.OperationalError, psycopg.errors.ReadOnlySqlTransaction) as error:
        raise unreachable(error) from error
    except psycopg.errors.InsufficientPrivilege as error:
        reason = error.diag.message_primary
        raise ServerUnfit(
            f"Postgres reports {reason!r}: let this role use (and for `leaseq migrate` create) schema leaseq"
        ) from error


async def lock_schema(conn: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
    """One migrator at a time, until the transaction ends."""
    await conn.execute(STATEMENTS["lock_schema"].encode())


async def _present(conn: psycopg.AsyncConnection[tuple[object, ...]]) -> dict[int, str]:
    cursor = await conn.execute(STATEMENTS["list_migrations"].encode())
    return {int(str(row[0])): str(row[2]) for row in await cursor.fetchall()}


def _compare(present: dict[int, str]) -> None:
    if present and max(present) > LATEST:
        raise SchemaMismatch(
            f"the schema is at version {max(present)}, newer than this code ({LATEST}): upgrade leaseq here"
        )
    for migration in MIGRATIONS:
        checksum = present.get(migration.version, migration.checksum)
        if checksum != migration.checksum:
            raise SchemaMismatch(
                f"migration {migration.version} in this schema is not the one of this code: another build "
                "of leaseq has applied it; use that build, or another database"
            )


__all__ = [
    "LATEST",
    "MIGRATIONS",
    "Migration",
    "connected",
    "load_migrations",
    "lock_schema",
    "migrate",
    "require_schema",
    "schema_version",
]
