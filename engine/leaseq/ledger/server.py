"""Read the identity of the ledger and the settings of its Postgres server."""

from __future__ import annotations

import msgspec
import psycopg

from leaseq.errors import SchemaMismatch
from leaseq.ledger.session import Session


class ServerSettings(msgspec.Struct, frozen=True):
    """Settings of Postgres that a promise rests on."""

    fsync: str
    full_page_writes: str
    synchronous_commit: str
    default_synchronous_commit: str
    read_only: str
    in_recovery: bool
    synchronous_standby_names: str
    # connected ones; for a role without pg_read_all_stats also those that commits do not wait for
    standbys: int
    version: int
    pooled: bool = False  # seen by the connection itself, not by a statement


async def read_ledger_id(session: Session) -> str:
    """The identity of this ledger. Raises `SchemaMismatch` where the schema has none yet, or it
    was deleted."""
    try:
        found = await session.fetch("find_ledger", idempotent=True)
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as error:
        raise SchemaMismatch(
            "the schema in Postgres is older than this code: run `leaseq migrate`"
        ) from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise SchemaMismatch(
            "this role may not read leaseq.ledger: run `leaseq migrate --grants`"
        ) from error
    if not found:
        raise SchemaMismatch(
            "leaseq.ledger has lost its row, the identity of this ledger: insert one row of defaults there"
        )
    return str(found[0][0])


async def read_server_settings(session: Session) -> ServerSettings:
    """Read the settings that could break a promise."""
    (row,) = await session.fetch("check_server", idempotent=True)
    return ServerSettings(**row._asdict())


__all__ = ["ServerSettings", "read_ledger_id", "read_server_settings"]
