"""Listen, count open connections, and enforce their deadlines.

When all connections are in use, the connection that has owed a request the longest is closed, idle
ones first. So a client that sends its request without delay is served, even if others hold many
connections open. A few connections more than the limit are accepted: they get `/health/*`, and
otherwise a 503.
"""

from __future__ import annotations

import asyncio
import resource
import ssl
from email.utils import formatdate

from leaseq.observability.telemetry import emit
from leaseq_api.http_server.admission import Admission
from leaseq_api.http_server.connection import HEALTH, Connection
from leaseq_api.http_server.exchange import Application, Exchange
from leaseq_api.http_server.handshake import Handshake
from leaseq_api.http_server.head import Malformed
from leaseq_api.http_server.limits import Limits
from leaseq_api.http_server.state import Counted, Judge
from leaseq_api.problems import HEADERS

BACKLOG = 1024
# Descriptors of everything else: stores, log, the listening sockets.
OTHER_FILES = 128
CROWDED_EVERY_SECONDS = 60.0
_COMMON_LINES = b"".join(b"%b: %b\r\n" % header for header in HEADERS)


class Server:
    """An application on a port."""

    def __init__(
        self, application: Application, limits: Limits, *, judge: Judge | None = None
    ) -> None:
        self.application = application
        self.limits = limits
        self.judge = judge
        self.common_lines = b""
        self.stopping = False
        self.in_flight = 0
        self.connections: set[Counted] = set()
        # Those that owe a request, the one that has done so the longest first.
        self._waiting: dict[Counted, None] = {}
        self._spare = 0
        self._told_crowded = float("-inf")
        self._empty = asyncio.Event()
        self.reads: Admission
        self.changes: Admission
        self._listener: asyncio.Server | None = None
        self._ticking: asyncio.Task[None] | None = None

    async def start(
        self, host: str, port: int, *, shared: bool = False, tls: ssl.SSLContext | None = None
    ) -> int:
        """Listen; `shared`: on a port on which other processes listen, too. Returns the port, which
        is another one where 0 was asked for. Raises `OSError`."""
        _allow_files(self.limits.connections + self.limits.spare_connections + OTHER_FILES)
        loop = asyncio.get_running_loop()
        self.reads = Admission("reads", most=self.limits.working)
        self.changes = Admission("changes", most=self.limits.working)
        self.common_lines = _common_lines()
        self._listener = await loop.create_server(
            lambda: Connection(self) if tls is None else Handshake(self, tls),
            host,
            port,
            backlog=BACKLOG,
            reuse_port=shared,
        )
        self._ticking = asyncio.create_task(self._tick())
        bound: int = self._listener.sockets[0].getsockname()[1]
        return bound

    async def stop(self, *, seconds: float) -> None:
        """Take no more connections and requests, answer what has begun for so many seconds, then
        close everything."""
        self.stopping = True
        if self._listener is not None:
            self._listener.close()
        for connection in tuple(self.connections):
            connection.stop()
        await self._until_empty(seconds)
        for connection in tuple(self.connections):
            connection.abort()
        await self._until_empty(seconds)
        if self._ticking is not None:
            self._ticking.cancel()

    async def _until_empty(self, seconds: float) -> None:
        self._empty.clear()
        if self.connections:
            try:
                async with asyncio.timeout(seconds):
                    await self._empty.wait()
            except TimeoutError:
                return

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.limits.tick_seconds)
            self.common_lines = _common_lines()
            now = loop.time()
            for connection in tuple(self.connections):
                connection.check(now)

    # For connections.

    def line_up(self, exchange: Exchange) -> None:
        """Begin an exchange when its turn comes, or refuse it. `/health/*` is always answered."""
        if exchange.head.path.startswith(HEALTH):
            exchange.begin()
            return
        reads = exchange.method in ("GET", "HEAD", "OPTIONS")
        exchange.admission = self.reads if reads else self.changes
        exchange.admission.enter(exchange)

    def admit(self, connection: Counted) -> bool:
        """Count a new connection. False: it has to go."""
        self.connections.add(connection)
        if self.stopping:
            return False
        if len(self.connections) - self._spare <= self.limits.connections or self._make_room(
            surplus=False
        ):
            return True
        self._tell_crowded()
        room = self._spare < self.limits.spare_connections or self._make_room(surplus=True)
        connection.surplus = True
        self._spare += 1
        return room

    def mark_waiting(self, connection: Counted) -> None:
        """Put a connection at the end of those that owe a request."""
        self._waiting.pop(connection, None)
        self._waiting[connection] = None

    def mark_working(self, connection: Counted) -> None:
        """Note that a connection is owed an answer."""
        self._waiting.pop(connection, None)

    def forget(self, connection: Counted) -> None:
        """Forget a connection."""
        self._waiting.pop(connection, None)
        if connection in self.connections:
            self.connections.remove(connection)
            self._spare -= connection.surplus
        if not self.connections:
            self._empty.set()

    def free_bytes(self, asking: Counted) -> None:
        """While there are too many bytes in flight, end the request that has held some for a slow
        client the longest. Raises `Malformed` where that is the one that asks, or none does."""
        while self.in_flight > (most := self.limits.in_flight_bytes):
            if not self._end_slowest(asking):
                raise Malformed(
                    "overloaded",
                    f"{most} bytes of other requests are in the works; try again in a moment",
                )

    def _end_slowest(self, asking: Counted) -> bool:
        holding = {
            connection: until
            for connection in self.connections
            if (until := connection.held_until) is not None
        }
        chosen = min(holding, key=holding.__getitem__, default=asking)
        if chosen is asking:
            return False
        chosen.give_way()
        return True

    def _make_room(self, *, surplus: bool) -> bool:
        """End the connection that has owed a request the longest, or takes no answer. False: there
        is none."""
        owing = [connection for connection in self._waiting if connection.surplus == surplus]
        stuck = [
            connection
            for connection in self.connections
            if connection.stuck and connection.surplus == surplus
        ]
        chosen = next((connection for connection in [*owing, *stuck] if connection.idle), None)
        if chosen is None and not (owing or stuck):
            return False
        chosen = chosen or (owing or stuck)[0]
        # It does not count any more, although the event loop closes it a moment later.
        self.forget(chosen)
        chosen.drop()
        return True

    def _tell_crowded(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._told_crowded >= CROWDED_EVERY_SECONDS:
            self._told_crowded = now
            emit("api.crowded", connections=len(self.connections), in_flight_bytes=self.in_flight)


def _allow_files(count: int) -> None:
    """Raise the soft limit on open files as far as necessary and allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft not in (resource.RLIM_INFINITY, hard) and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _common_lines() -> bytes:
    """The header lines of every answer, which are the same for about a second."""
    return b"date: %b\r\n" % formatdate(usegmt=True).encode() + _COMMON_LINES


__all__ = ["Server"]
