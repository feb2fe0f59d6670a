"""Open pools of connections to Postgres, and replace connections after an outage.

Invariants. Every session commits synchronously and has time-outs. A connection that the server
closed while it was idle is not handed out. After an outage the pool is complete again about a
second after the server returns. A caller that abandons a query of a frozen server is free again
within about a second (docs/pitfalls.md#p22).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import cache, partial
from importlib.resources import files
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool

from leaseq.config import Config
from leaseq.connections.pooler_probe import probe_for_pooler
from leaseq.connections.postgres_connection import Connection, FastCancelConnection, Refused
from leaseq.connections.postgres_pool import Pool
from leaseq.connections.primary import primary_at
from leaseq.connections.urls import check_postgres_url, require_url
from leaseq.errors import ServerUnreachable

__all__ = [
    "NotPrimary",
    "check_reachable",
    "open_handler_pool",
    "open_pool",
    "open_reading_pool",
    "refresh_timeline",
    "settings_script",
]

CONNECT_SECONDS = 5
LOCK_SECONDS = 5.0
RECONNECT_SECONDS = 1.0
SQL = files("leaseq.connections") / "sql"
SESSION = (SQL / "session.sql").read_bytes()
PLANS = (SQL / "plans.sql").read_bytes()
READ_ONLY = (SQL / "read_only.sql").read_bytes()
RESET = (SQL / "reset.sql").read_bytes().rstrip()

# How the client notices a lost host; ignored on a unix socket.
KEEPALIVES = {
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 11_000,
}


async def open_pool(
    config: Config,
    *,
    name: str,
    max_size: int,
    min_size: int = 1,
    wait: bool = True,
    guarded: bool = True,
) -> Pool:
    """Open a pool of `min_size` to `max_size` autocommit connections, called `name` in
    pg_stat_activity.

    Waiting for a free connection is bounded by the statement time-out (then
    psycopg_pool.PoolTimeout). Without `wait` the pool opens even while Postgres is away. With
    `guarded` its connections lead only to the primary (primary.py).

    Raises ServerUnreachable immediately if Postgres cannot be reached or refuses the connection,
    ConfigInvalid if there is no URL or it cannot be read, and ServerUnfit if leaseq cannot work
    with this kind of Postgres (`probe_for_pooler`).
    """

    if wait:
        await check_reachable(config, name=name, guarded=guarded)
    sizes = (min_size, max_size)
    configure = partial(_configure, seconds=config.statement_timeout_seconds, scripts=())
    return await _open(
        config, name=name, sizes=sizes, guarded=guarded, callbacks={"configure": configure}
    )


async def open_reading_pool(config: Config, *, name: str, max_size: int) -> Pool:
    """Like `open_pool`, of connections on which Postgres refuses to write. They are made when they
    are first needed, so it opens even while Postgres is away."""
    seconds = config.statement_timeout_seconds
    callbacks = {"configure": partial(_configure, seconds=seconds, scripts=(READ_ONLY,))}
    return await _open(config, name=name, sizes=(0, max_size), guarded=True, callbacks=callbacks)


async def _configure(conn: Connection, *, seconds: float, scripts: Sequence[bytes]) -> None:
    async with asyncio.timeout(CONNECT_SECONDS):
        await conn.execute(SESSION, session_settings(seconds))
        await conn.execute(PLANS, {"local": False})
        for script in scripts:
            await conn.execute(script)


async def open_handler_pool(
    config: Config,
    *,
    name: str,
    max_size: int,
    admit: Callable[[FastCancelConnection], Awaitable[None]],
) -> Pool:
    """Like `open_pool`, for connections that handlers use. Each one is reset to the same state
    after each attempt.

    `admit` examines every new connection before its first use, and raises to refuse it.
    """
    script = (
        RESET
        + b";\n"
        + _inline_parameters(
            SESSION, session_settings(config.statement_timeout_seconds, for_handlers=True)
        )
    )

    async def reset(conn: Connection) -> None:
        async with asyncio.timeout(CONNECT_SECONDS):
            await conn.execute(script)

    async def configure(conn: FastCancelConnection) -> None:
        conn.prepare_threshold = None  # the reset deallocates all prepared statements
        # otherwise psycopg would keep notifications that no code reads
        conn.add_notify_handler(_drop_notification)
        await reset(conn)
        await admit(conn)

    await check_reachable(config, name=name)
    return await _open(
        config,
        name=name,
        sizes=(1, max_size),
        guarded=True,
        callbacks={"configure": configure, "reset": reset},
    )


@cache
def settings_script(statement_timeout_seconds: float) -> bytes:
    """The settings of `session.sql` and `plans.sql` as one message, for the engine's part of a
    handler's transaction."""
    return (
        _inline_parameters(SESSION, session_settings(statement_timeout_seconds))
        + b";\n"
        + _inline_parameters(PLANS, {"local": True})
    )


async def _open(
    config: Config, *, name: str, sizes: tuple[int, int], guarded: bool, callbacks: dict[str, Any]
) -> Pool:
    url = require_url("postgres_url", config.postgres_url)
    options = _postgres_options(name)
    check_postgres_url(url)
    primary = primary_at(url)
    pool = Pool(
        url,
        connection_class=FastCancelConnection,
        kwargs=options | {"primary": primary if guarded else None},
        min_size=sizes[0],
        max_size=sizes[1],
        name=name,
        timeout=config.statement_timeout_seconds,
        check=lambda conn: _check_idle(pool, conn),
        # Abandon an attempt early and begin a new one, so that the back-off between attempts stays
        # short.
        reconnect_timeout=RECONNECT_SECONDS,
        reconnect_failed=_retry_for_waiters,
        open=False,
        **callbacks,
    )
    primary.join(pool)
    await pool.open()
    return pool


async def _retry_for_waiters(pool: AsyncConnectionPool[Any]) -> None:
    """Let the pool try to connect again, for callers that wait. No caller waits while connections
    are idle. Checking idle connections of a frozen server would not end."""
    if not pool.get_stats().get("pool_available"):
        await pool.check()


class NotPrimary(ServerUnreachable):
    """Postgres answers, but this server is not the primary."""


async def check_reachable(config: Config, *, name: str, guarded: bool = True) -> bool:
    """Make one connection and close it, because a pool reports failures only to the log. Returns
    whether a pooler is between.

    Raises as `open_pool` does. With `guarded`, raises `NotPrimary` if no host is the primary.
    """
    url = require_url("postgres_url", config.postgres_url)
    check_postgres_url(url)
    primary = primary_at(url) if guarded else None

    async def connect() -> Connection:
        return await FastCancelConnection.connect(url, primary=primary, **_postgres_options(name))

    try:
        async with await connect() as conn:
            return await probe_for_pooler(conn, connect)
    except Refused as error:
        raise NotPrimary(str(error)) from error
    except psycopg.OperationalError as error:
        raise ServerUnreachable(f"Postgres cannot be reached: {error}") from None


async def refresh_timeline(config: Config, *, name: str) -> None:
    """Make one connection to the primary and close it, so that this process learns of a newer
    timeline.

    Errors are ignored: the connections that need the server report them.
    """
    url = require_url("postgres_url", config.postgres_url)
    with suppress(psycopg.Error, OSError):
        conn = await FastCancelConnection.connect(
            url, primary=primary_at(url), **_postgres_options(name)
        )
        await conn.close()


def _postgres_options(name: str) -> dict[str, Any]:
    # Set here, because otherwise psycopg encodes text as the role's default says.
    options = {
        "autocommit": True,
        "application_name": name,
        "client_encoding": "UTF8",
        "connect_timeout": CONNECT_SECONDS,
    }
    return options | KEEPALIVES


async def _check_idle(pool: Pool, conn: FastCancelConnection) -> None:
    """Refuse a connection that died while it was idle, without a round trip for one that lives.

    A quiet socket is assumed to be sound. A readable socket was closed by the server, or carries a
    notice, so the server is asked. If it is dead, the neighbours probably are too, and all are
    closed now (docs/pitfalls.md#p23).
    """
    if conn.left:
        await conn.close()
        raise psycopg.OperationalError(conn.left)
    if not conn.has_news():
        return
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await pool.check_connection(conn)
    except (psycopg.Error, TimeoutError) as error:
        if conn.primary is not None:
            conn.primary.leave_refusing(conn, str(error).strip() or "the server does not answer")
        await conn.close()
        # the neighbours are closed now, not offered to this caller one by one
        await asyncio.sleep(0)
        raise


def session_settings(
    statement_timeout_seconds: float, *, for_handlers: bool = False
) -> dict[str, Any]:
    """The parameters of SESSION. `for_handlers`: for a connection that handlers use."""
    # Clearly the shorter one: a statement that waits for a row must fail as locked, not as too
    # slow.
    lock = min(LOCK_SECONDS, statement_timeout_seconds / 2)
    return {
        "statement_timeout": _milliseconds(statement_timeout_seconds),
        "lock_timeout": _milliseconds(lock),
        "for_handlers": for_handlers,
    }


def _inline_parameters(statement: bytes, values: dict[str, Any]) -> bytes:
    """The statement with its parameters (plain words and numbers) as literals, because a
    multi-statement message takes none."""
    for name, value in values.items():
        word = str(value).lower()
        assert word.isalnum(), value
        statement = statement.replace(f"%({name})s".encode(), f"'{word}'".encode())
    return statement


def _drop_notification(_: psycopg.Notify) -> None:
    """A notification for the attempt that used the connection before."""


def _milliseconds(seconds: float) -> str:
    """At least one, because Postgres reads zero as no limit."""
    return f"{max(1, seconds * 1000):.0f}"
