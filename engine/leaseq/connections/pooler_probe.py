"""Detect the kind of Postgres behind a connection before anything relies on it.

Two kinds cannot work and are refused at every connection of leaseq: a database that is not UTF-8,
and a pooler that gives one client several sessions in turn or passes a session on without a reset.
A session pooler that resets sessions is accepted. A direct connection pays one round trip for this
when a pool is opened, and none later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from importlib.resources import files
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from leaseq.errors import ServerUnfit, ServerUnreachable

__all__ = ["probe_for_pooler"]

Connection = psycopg.AsyncConnection[Any]
Connect = Callable[[], Awaitable[Connection]]

ROUNDS = 10
# When all its sessions are taken, a session pooler lets a client wait; PgBouncer's default is two
# minutes.
WAIT_SECONDS = 10.0
SQL = files("leaseq.connections") / "sql"
SESSION = (SQL / "probe_session.sql").read_bytes()
MARK = (SQL / "probe_mark.sql").read_bytes()
FOUND = (SQL / "probe_found.sql").read_bytes()

FIX = "connect directly to Postgres, or through a pool with pool_mode = session and server_reset_query = DISCARD ALL"


async def probe_for_pooler(conn: Connection, connect: Connect) -> bool:
    """Whether a pooler in session mode stands in between. `connect` makes more connections like
    `conn`.

    Raises `ServerUnfit` for a kind that cannot work, and `ServerUnreachable` if a pooler has no
    second session to give.
    """
    encoding = conn.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise ServerUnfit(
            f"the database is encoded in {encoding}, which cannot store every text that JSON allows: "
            f"create one with encoding 'UTF8' template template0"
        )
    if await _ask(conn, SESSION) == conn.info.backend_pid:
        return False
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            await _probe_pooler(conn, connect)
    except TimeoutError:
        raise ServerUnreachable(
            f"a pooler had no second session within {WAIT_SECONDS:g} s: in session mode its pool_size must be larger than the "
            "number of all connections of leaseq"
        ) from None
    return True


async def _probe_pooler(first: Connection, connect: Connect) -> None:
    async with AsyncExitStack() as stack:
        second = await stack.enter_async_context(await connect())
        try:
            changes = await _changes_sessions(first, second)
        except psycopg.OperationalError as error:  # pool_mode = statement
            reason = str(error).strip().splitlines()[0]
            raise ServerUnfit(f"a pooler refuses transactions ({reason}): {FIX}") from None
        if changes:
            raise ServerUnfit(
                "a pooler gives each transaction another session of Postgres, so that settings of a session reach strangers and "
                f"theirs reach leaseq: {FIX}"
            )
        if await _leaves_marks(second, connect):
            raise ServerUnfit(
                f"a pooler hands a session on with the settings of the client before: {FIX}"
            )


async def _ask(
    conn: Connection, query: bytes, params: dict[str, str] | None = None, *, prepare: bool = False
) -> Any:
    cursor = psycopg.AsyncCursor(conn, row_factory=tuple_row)
    await cursor.execute(query, params, prepare=prepare)
    found = await cursor.fetchone()
    assert found is not None, "one row always"
    return found[0]


async def _changes_sessions(first: Connection, second: Connection) -> bool:
    """Whether a session ever serves two clients that are both connected. An idle pooler shows it in
    the first round, because it gives out the session that was used last. A busy one, or one that
    rotates sessions, changes them between two questions."""
    firsts, seconds = set(), set()
    for _ in range(ROUNDS):
        firsts |= {await _ask(first, SESSION), await _ask(first, SESSION)}
        async with second.transaction():
            seconds.add(await _ask(second, SESSION))
    return len(firsts) > 1 or len(seconds) > 1 or bool(firsts & seconds)


async def _leaves_marks(conn: Connection, connect: Connect) -> bool:
    """Whether a client sees settings of the previous client in its session: now, or after we have
    left one."""
    if await _ask(conn, FOUND):
        return True
    marked = await _ask(conn, MARK, {"mark": "marked"}, prepare=True)
    await conn.close()
    async with AsyncExitStack() as stack:
        for _ in range(ROUNDS):
            other = await stack.enter_async_context(await connect())
            if await _ask(other, SESSION) == marked:
                return bool(await _ask(other, FOUND))
    return False  # another client has the session, or the pooler has closed it
