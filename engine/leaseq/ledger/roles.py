"""The three roles in Postgres and their rights.

The reasons are in docs/decisions/0014-three-roles.md.

The owner owns the schema and runs migrations. A service role (of the API, of workers' own
statements, of reapers; one or several) reads and writes rows. The handler role has no right on any
table of leaseq: what a worker does on a handler's connection goes through functions that ask for a
secret of that worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import quote, urlsplit, urlunsplit

import msgspec
import psycopg
from msgspec import Struct

from leaseq.config import Config
from leaseq.ledger.schema import connected, lock_schema, migrate
from leaseq.ledger.session import Session
from leaseq.ledger.statements import STATEMENTS

__all__ = [
    "HANDLER",
    "OWNER",
    "SERVICE",
    "HandlerRole",
    "RoleNames",
    "ServiceRole",
    "as_role",
    "find_handler_role",
    "find_service_role",
    "grant",
    "prepare_embedded",
]

GRANT_ROLES = STATEMENTS["grant_roles"]
TRIES = 20
REST_SECONDS = 0.5
OWNER, SERVICE, HANDLER = "leaseq_owner", "leaseq_service", "leaseq_handler"


class RoleNames(Struct, frozen=True, kw_only=True):
    """How the roles are called. Without an owner: the one that the schema has, or OWNER where that
    is a superuser."""

    owner: str | None = None
    services: Sequence[str] = (SERVICE,)
    handler: str = HANDLER


class ServiceRole(Struct, frozen=True):
    """The answer of check_roles.sql."""

    name: str
    is_superuser: bool
    is_owner: bool
    missing: list[str]
    unsignalled: list[str]
    unseen: list[str]
    database: str  # which one this is, and since when its server runs


class HandlerRole(Struct, frozen=True):
    """The answer of check_handler_role.sql."""

    name: str
    is_superuser: bool
    missing: list[str]
    excess: list[str]
    database: str


async def grant(conninfo: str, names: RoleNames) -> list[str]:
    """Make the roles that are missing and give each its rights; a list of the changes, in words.
    Safe to repeat and to interrupt.

    Raises `ServerUnfit` where the role of `conninfo` may not do this, and `ServerUnreachable`.
    """
    return await _apply(conninfo, names, GRANT_ROLES)


async def prepare_embedded(config: Config) -> Config:
    """Migrate the embedded Postgres, whose superuser `config` names, and return the configuration
    for its roles.

    Handlers may make tables in the schema public, as on a database that belongs to
    them.
    """
    url = config.postgres_url or ""
    await migrate(url)
    await _apply(url, RoleNames(), GRANT_ROLES, STATEMENTS["grant_embedded"])
    return msgspec.structs.replace(
        config, postgres_url=as_role(url, SERVICE), handler_postgres_url=as_role(url, HANDLER)
    )


async def _apply(conninfo: str, names: RoleNames, *statements: str) -> list[str]:
    """All statements in one transaction. It locks one table after the other, as services that run
    meanwhile do in other orders. A try that meets a deadlock, or waits for a lock for a second
    while it holds others, has done nothing and is repeated."""
    told: list[str] = []
    async with connected(conninfo) as conn:
        conn.add_notice_handler(lambda notice: told.append(notice.message_primary or ""))
        for rest in reversed(range(TRIES)):
            told.clear()
            try:
                async with conn.transaction():
                    await lock_schema(conn)
                    await conn.execute(
                        STATEMENTS["name_roles"].encode(),
                        {"roles": msgspec.json.encode(names).decode()},
                    )
                    for statement in statements:
                        await conn.execute(statement.encode())
                break
            except (psycopg.errors.DeadlockDetected, psycopg.errors.LockNotAvailable):
                if rest == 0:
                    raise
                await asyncio.sleep(REST_SECONDS)  # what waited for these locks goes first
    return [line for line in told if line.startswith("created role ")]


def as_role(url: str, name: str, password: str | None = None) -> str:
    """The URL for another role of the same database."""
    parts = urlsplit(url)
    user = (
        quote(name, safe="")
        if password is None
        else f"{quote(name, safe='')}:{quote(password, safe='')}"
    )
    return urlunsplit(parts._replace(netloc=f"{user}@{parts.netloc.rpartition('@')[2]}"))


async def find_service_role(session: Session) -> ServiceRole:
    """Read the rights of the role of this session."""
    return ServiceRole(*(await session.fetch("check_roles", idempotent=True))[0])


async def find_handler_role(session: Session) -> HandlerRole:
    """Read the rights of the role of this session, which is for handlers."""
    return HandlerRole(*(await session.fetch("check_handler_role", idempotent=True))[0])
