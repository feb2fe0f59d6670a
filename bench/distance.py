"""Put a store at a distance: a loopback proxy that delays each round trip.

Data of a client is passed on after the delay, in order. Requests may follow each other before the
first of them has arrived, as on a wire. With `counting` the commands of Redis that pass are counted
by name.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Thread
from typing import cast
from urllib.parse import parse_qs, unquote, urlsplit

import hiredis
import uvloop

from bench.processes import BenchFailed

LOOPBACK = "127.0.0.1"


class Distance:
    """A port of 127.0.0.1 that leads to a unix socket, `seconds` away."""

    def __init__(self, path: str, *, seconds: float, counting: bool = False) -> None:
        self.commands: Counter[str] = Counter()
        self.port = 0
        self.path = path
        self.seconds = seconds
        self.counting = counting
        self.links: set[Near] = set()

    async def start(self) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Near(self), LOOPBACK, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def aclose(self) -> None:
        """Close the port and every connection."""
        self._server.close()
        for link in tuple(self.links):
            link.cut()
        await asyncio.sleep(0)


@contextmanager
def thread_of_its_own() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in another thread, so that what the benchmark does meanwhile does not lengthen
    the distance."""
    loop = uvloop.new_event_loop()
    thread = Thread(target=loop.run_forever, name="distance", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


class Near(asyncio.Protocol):
    """The side of a connection that faces the client."""

    def __init__(self, distance: Distance) -> None:
        self._distance = distance
        self._reader = hiredis.Reader() if distance.counting else None
        self._far: asyncio.Transport | None = None
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's own kind is no subclass of it
        self.transport = cast(asyncio.Transport, transport)
        self._distance.links.add(self)
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            self._far, _ = await loop.create_unix_connection(lambda: Far(self), self._distance.path)
        except OSError:
            self.transport.abort()
            return
        for data in self._early:
            self._far.write(data)

    def data_received(self, data: bytes) -> None:
        if self._reader is not None:
            self._reader.feed(data)
            while (command := self._reader.gets()) is not False:
                self._distance.commands[command[0].decode().lower()] += 1
        asyncio.get_running_loop().call_later(self._distance.seconds, self._pass_on, data)

    def _pass_on(self, data: bytes) -> None:
        if self._far is None:
            self._early.append(data)
        elif not self._far.is_closing():
            self._far.write(data)

    def connection_lost(self, _: Exception | None) -> None:
        self.cut()

    def cut(self) -> None:
        """Close both sides."""
        self._distance.links.discard(self)
        self._connecting.cancel()
        self.transport.abort()
        if self._far is not None:
            self._far.abort()


class Far(asyncio.Protocol):
    """The side that faces the server. Answers are passed on immediately: the delay is that of the
    whole round trip."""

    def __init__(self, near: Near) -> None:
        self._near = near

    def data_received(self, data: bytes) -> None:
        self._near.transport.write(data)

    def connection_lost(self, _: Exception | None) -> None:
        self._near.cut()


def postgres_at(url: str, port: int) -> tuple[str, str]:
    """The path of the socket that this URL names, and the URL by a port instead."""
    parts = urlsplit(url)
    options = parse_qs(parts.query)
    if "host" not in options:
        raise BenchFailed("Postgres is not reached by a unix socket")
    number = options.get("port", ["5432"])[0]
    return (
        f"{options['host'][0]}/.s.PGSQL.{number}",
        f"postgresql://{parts.username}@{LOOPBACK}:{port}{parts.path}",
    )


def redis_at(url: str, port: int) -> tuple[str, str]:
    """The same for Redis."""
    parts = urlsplit(url)
    options: Mapping[str, list[str]] = parse_qs(parts.query)
    return unquote(parts.path), f"redis://:{options['password'][0]}@{LOOPBACK}:{port}/0"


__all__ = ["Distance", "postgres_at", "redis_at", "thread_of_its_own"]
