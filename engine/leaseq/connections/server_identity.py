"""Identify a Postgres server and one session there, and end an abandoned session.

Invariants. A session is identified by its pid and its start time together, because the operating
system reuses pids. A session is ended over a new connection to the same server, because its own
connection is closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any

import psycopg
from msgspec import Struct
from psycopg.rows import tuple_row

from leaseq.observability.telemetry import emit

SQL = files("leaseq.connections") / "sql"
IDENTITY = (SQL / "identity.sql").read_bytes()
READINESS = (SQL / "readiness.sql").read_bytes()
END_SESSION = (SQL / "end_session.sql").read_bytes()
# For the new connection and its statement together.
END_SESSION_SECONDS = 4.0

Connection = psycopg.AsyncConnection[Any]


class Identity(Struct, frozen=True):
    """The report of a server about itself and about the session that asks."""

    in_recovery: bool
    read_only: bool
    system: str | None
    timeline: int | None
    clock: float | None = None  # its Unix time
    pid: int = 0
    began: str = ""  # when the session began, in seconds since 1970


UNKNOWN = Identity(False, False, None, None)


async def identify(conn: Connection) -> Identity:
    """Ask a new connection. Raises psycopg.Error."""
    cursor = psycopg.AsyncCursor(conn, row_factory=tuple_row)
    try:
        await cursor.execute(IDENTITY)
    except psycopg.OperationalError:
        raise
    except psycopg.DatabaseError:
        await conn.rollback()
        await cursor.execute(READINESS)
    row = await cursor.fetchone()
    await conn.rollback()
    assert row is not None, "one row always"
    return Identity(*row)


async def end_session(session: Identity, connect: Callable[[], Awaitable[Connection]]) -> None:
    """End a session whose connection was closed. Raises TimeoutError if its server does not answer
    a new connection."""
    error = ""
    try:
        async with asyncio.timeout(END_SESSION_SECONDS), await connect() as conn:
            await conn.execute(END_SESSION, {"pid": session.pid, "began": session.began})
    except psycopg.errors.ConnectionTimeout as late:
        raise TimeoutError from late
    except psycopg.Error as refused:
        error = str(refused).strip()
    emit("ledger.abandoned", pid=session.pid, error=error)


__all__ = ["UNKNOWN", "Identity", "end_session", "identify"]
