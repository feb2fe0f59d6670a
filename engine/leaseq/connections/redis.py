"""Open clients of Redis that send each command at most once.

A client with redis-py's defaults sends a command up to eleven times when its reply is lost, and a
repeated BLMOVE moves a second id (docs/pitfalls.md#p1 to #p4). So every client here is built
without retries, and no parameter of a URL enables them. A caller that may repeat a command does so
explicitly.
"""

from __future__ import annotations

from typing import Any

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from leaseq.config import Config
from leaseq.connections.redis_connection import Guard, guarded
from leaseq.connections.single_commands import SharedPool
from leaseq.connections.urls import require_url
from leaseq.errors import ConfigInvalid

__all__ = ["open_blocking_redis", "open_redis"]

# Without the driver's text, which quotes the URL.
UNREADABLE_REDIS = (
    "LEASEQ_REDIS_URL cannot be read: write redis://user:password@host:6379/0 with known parameters only, and "
    "% @ / : ? # in user and password as %25 %40 %2F %3A %3F %23"
)
REDIS_CONNECTIONS = 16
REPLY_SECONDS = 3.0


def open_redis(config: Config, *, name: str, guard: Guard | None = None) -> Redis:
    """A client for commands that do not block, shared by any number of tasks. Sends and receives
    bytes.

    Connects at first use. A command is sent once; if it fails, ConnectionError or TimeoutError of
    redis-py is raised within 3 s. `guard` watches all connections of a process together. Without
    it, this client's connections have their own guard.
    """
    options = _validated(
        guarded(_redis_options(config, name=name, reply_seconds=REPLY_SECONDS), guard or Guard())
    )
    return Redis.from_pool(
        SharedPool(**options, max_connections=REDIS_CONNECTIONS, timeout=REPLY_SECONDS)
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
    options = _validated(
        guarded(_redis_options(config, name=name, reply_seconds=seconds), guard or Guard())
    )
    client = Redis(
        connection_pool=ConnectionPool(**options, max_connections=1), single_connection_client=True
    )
    client.auto_close_connection_pool = True
    return client


def _redis_options(config: Config, *, name: str, reply_seconds: float) -> dict[str, Any]:
    url = require_url("redis_url", config.redis_url)
    try:
        from_url = dict(parse_url(url))
    except ValueError:
        raise ConfigInvalid(UNREADABLE_REDIS) from None
    # These options override the URL. The first two would re-enable hidden retries.
    for forbidden in ("retry_on_timeout", "retry_on_error", "max_connections", "timeout"):
        from_url.pop(forbidden, None)
    overrides: dict[str, Any] = {
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
        overrides |= {"socket_connect_timeout": REPLY_SECONDS, "socket_keepalive": True}
    return from_url | overrides


def _validated(options: dict[str, Any]) -> dict[str, Any]:
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
