"""Connections to Redis that leave a server which no longer accepts writes.

A connection lives for hours, and its server may lose its role meanwhile. After a failover the old
master continues as a replica, answers every write with an error, and keeps the connection open. A
new connection finds the new master, because it resolves the name again. So such an answer condemns
all connections of the process, and each is replaced before its next command. The command that got
the answer is not repeated.

Values in Redis are hostile, and a value is read into memory completely before it can be judged. So
a connection is dropped once 64 KiB of one incomplete value have arrived. No value that leaseq reads
is that large.

Invariants: a command never loses a cancellation. A condemned connection sends nothing more, but
outstanding replies of a pipeline are read. An answer that says nothing about the role of the server
(full, busy, no right, wrong type) condemns no connection.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from hiredis import pack_command
from redis._parsers.hiredis import _AsyncHiredisParser
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.exceptions import BusyLoadingError, MasterDownError, ReadOnlyError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

__all__ = ["Admit", "Guard", "Refused", "TooLarge", "guarded"]

Admit = Callable[[AbstractConnection], Awaitable[None]]

CONDEMNING = (BusyLoadingError, MasterDownError, ReadOnlyError)
# The same answers inside the error of a script, and those without a class in redis-py. READONLY and
# MASTERDOWN: a replica. LOADING: a server that has restarted, or a replica that copies its master.
# UNBLOCKED: it lost its role while we blocked. NOREPLICAS: a master whose replicas have left it, as
# in the smaller half of a split network.
WORDS = re.compile(r"\b(READONLY|MASTERDOWN|LOADING|UNBLOCKED|NOREPLICAS)\b")


# Larger than any single value in our replies.
VALUE_BYTES = 65_536
# The buffer also holds the header of the value, and data that hiredis has not discarded yet.
SLACK_BYTES = 2048


class TooLarge(RedisConnectionError):
    """A value was too large and was not read to its end."""


class Refused(RedisConnectionError):
    """The server behind a new connection is not ours to use."""


class Guard:
    """The state that all connections of one process share.

    `generation` counts the reasons to leave a server. `admit` examines each new connection, and
    refuses it with a `RedisError`.
    """

    def __init__(self) -> None:
        self.generation = 0
        self.admit: Admit | None = None

    def condemn(self) -> None:
        """Have every connection replaced before its next command."""
        self.generation += 1


class _BoundedParser(_AsyncHiredisParser):
    """The parser of redis-py, which stops at a value that is too large."""

    async def read_from_socket(self) -> bool:
        """Read on, because the reply is incomplete. The buffer holds the received part of the
        current value."""
        reader: Any = self._reader
        if reader is not None and reader.len() > VALUE_BYTES + SLACK_BYTES:
            raise TooLarge(
                f"a value of more than {VALUE_BYTES} bytes came from Redis; the connection was dropped"
            )
        return bool(await super().read_from_socket())  # type: ignore[no-untyped-call]


class _Guarded(AbstractConnection):
    """The common part of the three kinds of connections."""

    def __init__(self, *, guard: Guard, **options: Any) -> None:
        self._guard = guard
        self._generation = guard.generation
        self._admitted = False
        super().__init__(**options, parser_class=_BoundedParser)

    async def _connect(self) -> None:
        # Before the name is resolved: the next condemnation may concern the server that this
        # connection reaches.
        self._generation = self._guard.generation
        self._admitted = False
        await super()._connect()  # type: ignore[safe-super, no-untyped-call]

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        await super().on_connect_check_health(check_health)
        if self._guard.admit is not None:
            await self._guard.admit(self)
        self._admitted = True

    def pack_command(self, *args: Any) -> list[bytes]:
        """A command as bytes. The asynchronous client of redis-py packs each argument in Python."""
        name, *rest = args
        # 'SCRIPT LOAD' are two
        words = name.encode().split() if isinstance(name, str) else name.split()
        return [pack_command((*words, *rest))]

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        if self._admitted and self._generation != self._guard.generation and self.is_connected:
            await self.disconnect(nowait=True)
        if not self.is_connected:
            await self.connect_check_health(check_health=False)
        if check_health:
            await self.check_health()  # type: ignore[no-untyped-call]
        try:
            await self._send(command)
        except BaseException:
            await self.disconnect(nowait=True)  # a part of the command may have been sent
            raise

    async def _send(self, command: Iterable[bytes]) -> None:
        """Write a command within the time-out of the connection.

        redis-py writes inside `asyncio.wait_for`, which costs a task for each command, and which
        before Python 3.12 loses a cancellation that arrives when the write completes
        (cpython#86296). Then a loop would not end when asked to.
        """
        try:
            async with asyncio.timeout(self.socket_timeout):
                await self._send_packed_command(command)
        except TimeoutError as error:
            raise RedisTimeoutError("time-out while writing to Redis") from error
        except OSError as error:
            raise RedisConnectionError(f"error while writing to Redis: {error}") from error

    async def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*args, **options)
        except RedisError as error:
            # A connection that was condemned before carries no news: its successors may already be
            # at the right server.
            if self._generation == self._guard.generation and _condemns(error):
                self._guard.condemn()
            raise

    def should_reconnect(self) -> bool:
        """Whether to close the connection when it returns to its pool."""
        return self._generation != self._guard.generation or bool(super().should_reconnect())  # type: ignore[no-untyped-call]


class GuardedConnection(_Guarded, Connection):
    """Over TCP."""


class GuardedSSLConnection(_Guarded, SSLConnection):
    """Over TLS."""


class GuardedUnixConnection(_Guarded, UnixDomainSocketConnection):
    """Over a unix socket."""


KINDS = {
    Connection: GuardedConnection,
    SSLConnection: GuardedSSLConnection,
    UnixDomainSocketConnection: GuardedUnixConnection,
}


def guarded(options: dict[str, Any], guard: Guard) -> dict[str, Any]:
    """The options of a connection, with a class that `guard` watches over."""
    return options | {
        "connection_class": KINDS[options.get("connection_class", Connection)],
        "guard": guard,
    }


def _condemns(error: RedisError) -> bool:
    return isinstance(error, CONDEMNING) or WORDS.search(str(error)) is not None
