"""Connections to Redis that leave a server which no longer accepts writes.

A connection lives for hours, and its server may lose its role meanwhile. After a failover the old
master continues as a replica, answers every write with an error, and keeps the connection open. A
new connection finds the new master, because it resolves the name again. So such an answer condemns
all connections of the process, and each is replaced before its next command. The command that got
the answer is not repeated.

Values in Redis are hostile, and a value is read into memory completely before it can be judged. So
a connection is dropped once 64 KiB of one incomplete value have arrived. No value that leaseq reads
is that large.

Invariants: a command never loses a cancellation. A connection that is closed while it is being
opened stays closed. A condemned connection sends nothing more, but outstanding replies of a
pipeline are read. An answer that says nothing about the role of the server (full, busy, no right,
wrong type) condemns no connection.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from hiredis import pack_command
from redis._parsers.hiredis import NOT_ENOUGH_DATA, _AsyncHiredisParser
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.exceptions import BusyLoadingError, MasterDownError, ReadOnlyError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

__all__ = ["Admit", "Guard", "Guarded", "Refused", "TooLarge", "guarded"]

Admit = Callable[[AbstractConnection], Awaitable[None]]

CONDEMNING = (BusyLoadingError, MasterDownError, ReadOnlyError)
# The same answers inside the error of a script, and those without a class in redis-py. READONLY and
# MASTERDOWN: a replica. LOADING: a server that has restarted, or a replica that copies its master.
# UNBLOCKED: it lost its role while we blocked. NOREPLICAS: a master whose replicas have left it, as
# in the smaller half of a split network.
WORDS = re.compile(r"\b(READONLY|MASTERDOWN|LOADING|UNBLOCKED|NOREPLICAS)\b")


# The generation of a connection that is replaced before its next command.
CONDEMNED = -1
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

    _reader: Any
    _stream: Any

    async def read_from_socket(self) -> bool:
        """Read on, because the reply is incomplete. The buffer holds the received part of the
        current value."""
        if self._reader.len() > VALUE_BYTES + SLACK_BYTES:
            raise TooLarge(
                f"a value of more than {VALUE_BYTES} bytes came from Redis; the connection was dropped"
            )
        data = await self._stream.read(self._read_size)
        if not data:
            raise RedisConnectionError("Redis has closed the connection")
        self._reader.feed(data)
        return True

    async def next_reply(self) -> Any:
        """The next reply. An error of the server is returned, not raised."""
        while (reply := self._reader.gets()) is NOT_ENOUGH_DATA:
            await self.read_from_socket()
        return reply

    def is_clean(self) -> bool:
        """Whether the server has neither sent anything that was not read, nor closed."""
        stream = self._stream
        unread = stream._buffer  # noqa: SLF001 (asyncio has no other way to ask)
        return not (unread or self._reader.has_data() or stream.at_eof())


class Guarded(AbstractConnection):
    """The common part of the three kinds of connections."""

    _parser: _BoundedParser
    _writer: Any
    _transport: asyncio.WriteTransport
    socket_timeout: float

    def __init__(self, *, guard: Guard, **options: Any) -> None:
        self._guard = guard
        self._generation = guard.generation
        self._admitted = False
        self._closed_meanwhile = False
        self._deadline: float | None = None  # until when a reply is awaited
        self._alarm: asyncio.TimerHandle | None = None
        super().__init__(**options, parser_class=_BoundedParser)

    async def disconnect(self, *args: Any, **options: Any) -> None:
        self._closed_meanwhile = True
        await super().disconnect(*args, **options)

    async def _connect(self) -> None:
        # Before the name is resolved: the next condemnation may concern the server that this
        # connection reaches.
        self._generation = self._guard.generation
        self._admitted = False
        if self._alarm is not None:  # perhaps of another event loop
            self._alarm.cancel()
            self._alarm = None
        self._closed_meanwhile = False
        await super()._connect()  # type: ignore[safe-super, no-untyped-call]
        if self._closed_meanwhile:  # by its pool, which does not close it again
            await self.disconnect(nowait=True)
            raise RedisConnectionError("the connection was closed while it was being opened")
        self._transport = self._writer.transport

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
            self._judge(error)
            raise

    def _judge(self, error: RedisError) -> None:
        # A connection that was condemned before carries no news: its successors may already be at
        # the right server.
        if self._generation == self._guard.generation and _condemns(error):
            self._guard.condemn()

    async def exchange(self, command: bytes) -> Any:
        """Send one packed command, and return its reply. Connects first if necessary.

        The command may wait in the buffer of the transport. The time-out of the reply covers that,
        too.
        """
        if not self._is_sound():
            await self.disconnect(nowait=True)
            await self.connect()  # type: ignore[no-untyped-call]
        try:
            self._transport.write(command)
            self._set_alarm()
            reply = await self._parser.next_reply()
            if isinstance(reply, RedisConnectionError):
                raise reply  # the server is loading, or takes no more connections
        except BaseException as error:
            await self.disconnect(nowait=True)  # the reply may be outstanding
            if isinstance(error, OSError):
                raise RedisConnectionError(f"error while talking to Redis: {error}") from error
            if isinstance(error, RedisError):
                self._judge(error)
            raise
        finally:
            self._deadline = None
        if isinstance(reply, RedisError):
            self._judge(reply)
            raise reply
        return reply

    def _is_sound(self) -> bool:
        """Whether this is connected to the server that the process uses now, and no bytes are left
        from another reply."""
        return (
            self._reader is not None
            and self._generation == self._guard.generation
            and not self._transport.is_closing()
            and self._parser.is_clean()
        )

    def _set_alarm(self) -> None:
        """Have the wait for a reply end at the time-out. One timer serves many replies, because it
        moves on only when it rings."""
        loop = asyncio.get_running_loop()
        self._deadline = loop.time() + self.socket_timeout
        if self._alarm is None:
            self._alarm = loop.call_at(self._deadline, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        if self._deadline is None or self._reader is None:
            return
        loop = asyncio.get_running_loop()
        if loop.time() < self._deadline:
            self._alarm = loop.call_at(self._deadline, self._ring)
        else:
            self._generation = CONDEMNED  # also if the reply has arrived in this moment
            self._reader.set_exception(RedisTimeoutError("time-out while waiting for Redis"))

    def should_reconnect(self) -> bool:
        """Whether to close the connection when it returns to its pool."""
        return self._generation != self._guard.generation or bool(super().should_reconnect())  # type: ignore[no-untyped-call]


class GuardedConnection(Guarded, Connection):
    """Over TCP."""


class GuardedSSLConnection(Guarded, SSLConnection):
    """Over TLS."""


class GuardedUnixConnection(Guarded, UnixDomainSocketConnection):
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
