"""Open connections to Postgres and Redis, and replace them after an outage.

Invariants for Postgres. Every session commits synchronously and has time-outs. A connection that
the server closed while it was idle is not handed out. After an outage the pool is complete again
about a second after the server returns. A caller that abandons a query of a frozen server is free
again within about a second (docs/pitfalls.md#p22).

Invariant for Redis: a command is sent at most once. A client with redis-py's defaults sends a
command up to eleven times when its reply is lost, and a repeated BLMOVE moves a second id
(docs/pitfalls.md#p1 to #p4). So every client here is built without retries, and no parameter of a
URL enables them. A caller that may repeat a command does so explicitly.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cache
from importlib.resources import files
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool
from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from leaseq.config import Config
from leaseq.errors import ConfigInvalid, ServerUnreachable
from leaseq.postgres_url import check_url
from leaseq.primary import ImpatientConnection, Pool, Refused, primary_at
from leaseq.probe import probe
from leaseq.redis_connection import Guard, guarded

__all__ = [
    "Connection",
    "ImpatientConnection",
    "NotPrimary",
    "Pool",
    "knock",
    "open_blocking_redis",
    "open_handler_pool",
    "open_pool",
    "open_redis",
    "scout",
    "spell_settings",
]

Connection = psycopg.AsyncConnection[Any]

# Without the driver's text, which quotes the URL.
UNREADABLE_REDIS = (
    "LEASEQ_REDIS_URL cannot be read: write redis://user:password@host:6379/0 with known parameters only, and "
    "% @ / : ? # in user and password as %25 %40 %2F %3A %3F %23"
)
CONNECT_SECONDS = 5
LOCK_SECONDS = 5.0
RECONNECT_SECONDS = 1.0
REDIS_CONNECTIONS = 16
REPLY_SECONDS = 3.0
SESSION = (files("leaseq") / "session.sql").read_bytes()
PLANS = (files("leaseq") / "plans.sql").read_bytes()
RESET = (files("leaseq") / "reset.sql").read_bytes().rstrip()

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
    with this kind of Postgres (`probe`).
    """

    async def configure(conn: Connection) -> None:
        async with asyncio.timeout(CONNECT_SECONDS):
            await conn.execute(SESSION, session_settings(config.statement_timeout_seconds))
            await conn.execute(PLANS, {"local": False})

    if wait:
        await knock(config, name=name, guarded=guarded)
    sizes = (min_size, max_size)
    return await _open(
        config, name=name, sizes=sizes, guarded=guarded, callbacks={"configure": configure}
    )


async def open_handler_pool(
    config: Config,
    *,
    name: str,
    max_size: int,
    admit: Callable[[ImpatientConnection], Awaitable[None]],
) -> Pool:
    """Like `open_pool`, for connections that handlers use. Each one is reset to the same state
    after each attempt.

    `admit` examines every new connection before its first use, and raises to refuse it.
    """
    script = (
        RESET
        + b";\n"
        + _spell(SESSION, session_settings(config.statement_timeout_seconds, lent=True))
    )

    async def reset(conn: Connection) -> None:
        async with asyncio.timeout(CONNECT_SECONDS):
            await conn.execute(script)

    async def configure(conn: ImpatientConnection) -> None:
        conn.prepare_threshold = None  # the reset deallocates all prepared statements
        # otherwise psycopg would keep notifications that no code reads
        conn.add_notify_handler(_ignore)
        await reset(conn)
        await admit(conn)

    await knock(config, name=name)
    return await _open(
        config,
        name=name,
        sizes=(1, max_size),
        guarded=True,
        callbacks={"configure": configure, "reset": reset},
    )


@cache
def spell_settings(statement_timeout_seconds: float) -> bytes:
    """The settings of `session.sql` and `plans.sql` as one message, for the engine's part of a
    handler's transaction."""
    return (
        _spell(SESSION, session_settings(statement_timeout_seconds))
        + b";\n"
        + _spell(PLANS, {"local": True})
    )


async def _open(
    config: Config, *, name: str, sizes: tuple[int, int], guarded: bool, callbacks: dict[str, Any]
) -> Pool:
    url = _given("postgres_url", config.postgres_url)
    options = _postgres_options(name)
    check_url(url)
    primary = primary_at(url)
    pool: Pool = AsyncConnectionPool(
        url,
        connection_class=ImpatientConnection,
        kwargs=options | {"primary": primary if guarded else None},
        min_size=sizes[0],
        max_size=sizes[1],
        name=name,
        timeout=config.statement_timeout_seconds,
        check=lambda conn: _check_idle(pool, conn),
        # Abandon an attempt early and begin a new one, so that the back-off between attempts stays
        # short.
        reconnect_timeout=RECONNECT_SECONDS,
        reconnect_failed=_grow,
        open=False,
        **callbacks,
    )
    primary.join(pool)
    await pool.open()
    return pool


async def _grow(pool: Pool) -> None:
    """Let the pool try to connect again, for callers that wait. No caller waits while connections
    are idle. Checking idle connections of a frozen server would not end."""
    if not pool.get_stats().get("pool_available"):
        await pool.check()


def open_redis(config: Config, *, name: str, guard: Guard | None = None) -> Redis:
    """A client for commands that do not block, shared by any number of tasks. Sends and receives
    bytes.

    Connects at first use. A command is sent once; if it fails, ConnectionError or TimeoutError of
    redis-py is raised within 3 s. `guard` watches all connections of a process together. Without
    it, this client's connections have their own guard.
    """
    options = _checked(
        guarded(_redis_options(config, name=name, reply_seconds=REPLY_SECONDS), guard or Guard())
    )
    return Redis.from_pool(
        BlockingConnectionPool(**options, max_connections=REDIS_CONNECTIONS, timeout=REPLY_SECONDS)
    )


def open_blocking_redis(
    config: Config, *, name: str, block_seconds: float, guard: Guard | None = None
) -> Redis:
    """A client with one connection, for a command that blocks on the server for at most
    `block_seconds`.

    The socket waits 3 s longer than the server may block. Otherwise an id that is moved at the last
    moment would be lost from sight (docs/pitfalls.md#p2). The client has one owner: do not share it
    between tasks. `guard` as for `open_redis`.
    """
    seconds = block_seconds + REPLY_SECONDS
    options = _checked(
        guarded(_redis_options(config, name=name, reply_seconds=seconds), guard or Guard())
    )
    client = Redis(
        connection_pool=ConnectionPool(**options, max_connections=1), single_connection_client=True
    )
    client.auto_close_connection_pool = True
    return client


class NotPrimary(ServerUnreachable):
    """Postgres answers, but this server is not the primary."""


async def knock(config: Config, *, name: str, guarded: bool = True) -> bool:
    """Make one connection and close it, because a pool reports failures only to the log. Returns
    whether a pooler is between.

    Raises as `open_pool` does. With `guarded`, raises `NotPrimary` if no host is the primary.
    """
    url = _given("postgres_url", config.postgres_url)
    check_url(url)
    primary = primary_at(url) if guarded else None

    async def connect() -> Connection:
        return await ImpatientConnection.connect(url, primary=primary, **_postgres_options(name))

    try:
        async with await connect() as conn:
            return await probe(conn, connect)
    except Refused as error:
        raise NotPrimary(str(error)) from error
    except psycopg.OperationalError as error:
        raise ServerUnreachable(f"Postgres cannot be reached: {error}") from None


async def scout(config: Config, *, name: str) -> None:
    """Make one connection to the primary and close it, so that this process learns of a newer
    timeline.

    Errors are ignored: the connections that need the server report them.
    """
    url = _given("postgres_url", config.postgres_url)
    with suppress(psycopg.Error, OSError):
        conn = await ImpatientConnection.connect(
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


async def _check_idle(pool: Pool, conn: ImpatientConnection) -> None:
    """Refuse a connection that died while it was idle, without a round trip for one that lives.

    A quiet socket is assumed to be sound. A readable socket was closed by the server, or carries a
    notice, so the server is asked. If it is dead, the neighbours probably are too, and all are
    closed now (docs/pitfalls.md#p23).
    """
    if conn.left:
        await conn.close()
        raise psycopg.OperationalError(conn.left)
    poll = select.poll()
    poll.register(conn.fileno(), select.POLLIN)
    if not poll.poll(0):
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


def session_settings(statement_timeout_seconds: float, *, lent: bool = False) -> dict[str, Any]:
    """The parameters of SESSION. `lent`: for a connection that handlers use."""
    # Clearly the shorter one: a statement that waits for a row must fail as locked, not as too
    # slow.
    lock = min(LOCK_SECONDS, statement_timeout_seconds / 2)
    return {
        "statement_timeout": _milliseconds(statement_timeout_seconds),
        "lock_timeout": _milliseconds(lock),
        "lent": lent,
    }


def _spell(statement: bytes, values: dict[str, Any]) -> bytes:
    """The statement with its parameters (plain words and numbers) as literals, because a
    multi-statement message takes none."""
    for name, value in values.items():
        word = str(value).lower()
        assert word.isalnum(), value
        statement = statement.replace(f"%({name})s".encode(), f"'{word}'".encode())
    return statement


def _ignore(_: psycopg.Notify) -> None:
    """A notification for the attempt that used the connection before."""


def _milliseconds(seconds: float) -> str:
    """At least one, because Postgres reads zero as no limit."""
    return f"{max(1, seconds * 1000):.0f}"


def _redis_options(config: Config, *, name: str, reply_seconds: float) -> dict[str, Any]:
    url = _given("redis_url", config.redis_url)
    try:
        from_url = dict(parse_url(url))
    except ValueError:
        raise ConfigInvalid(UNREADABLE_REDIS) from None
    # These options override the URL. The first two would re-enable hidden retries.
    for ours_alone in ("retry_on_timeout", "retry_on_error", "max_connections", "timeout"):
        from_url.pop(ours_alone, None)
    ours: dict[str, Any] = {
        "client_name": _client_name(config, name),
        "decode_responses": False,
        # CLIENT SETINFO is refused by old servers and by narrow ACLs, on every connection
        "driver_info": None,
        "health_check_interval": 0,
        # every server gives the same replies, and no push message hides a stray reply
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": reply_seconds,
    }
    if "path" not in from_url:
        ours |= {"socket_connect_timeout": REPLY_SECONDS, "socket_keepalive": True}
    return from_url | ours


def _checked(options: dict[str, Any]) -> dict[str, Any]:
    """Build one connection without connecting it, because a pool notices an unknown parameter only
    at its first use."""
    try:
        options["connection_class"](
            **{name: value for name, value in options.items() if name != "connection_class"}
        )
    except (TypeError, ValueError, RedisError):
        raise ConfigInvalid(UNREADABLE_REDIS) from None
    return options


def _client_name(config: Config, name: str) -> str:
    """The name of a connection in CLIENT LIST, with the prefix of the deployment. CLIENT SETNAME
    refuses spaces."""
    own, spoken, rest = name.partition("leaseq")
    return (name if own or not spoken else config.redis_prefix + rest).replace(" ", "-")


def _given(field: str, url: str | None) -> str:
    if url is None:
        raise ConfigInvalid(
            f"LEASEQ_{field.upper()} is not set, and no embedded server was started in its place"
        )
    return url
