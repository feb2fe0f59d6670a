"""Join each TCP connection on a port of the loopback with one to a server.

The relay accepts, connects, counts and closes. Its owner carries the bytes, and with them the
faults. Invariants: the port stays the same until `aclose`; when `aclose` returns, every connection
has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

__all__ = ["Relay"]


class Cut(Protocol):
    """A connection through the relay, as its owner keeps it."""

    def cut(self) -> None:
        """End both sides immediately."""


Link = TypeVar("Link", bound=Cut)
Join = Callable[[asyncio.StreamWriter, asyncio.StreamWriter], Link]
# Carries bytes from the readers of the client and of the server until either side ends.
Carry = Callable[[Link, asyncio.StreamReader, asyncio.StreamReader], Awaitable[None]]


class Relay(Generic[Link]):
    """A port of 127.0.0.1. `join` makes a link of the writers of client and server, `carry` moves
    its bytes, and `refuse` ends a client that gets no server."""

    def __init__(
        self,
        target: tuple[str, int],
        *,
        join: Join[Link],
        carry: Carry[Link],
        refuse: Callable[[asyncio.StreamWriter], None],
    ) -> None:
        self.target = target  # of new connections; open ones stay where they are
        self.port = 0
        self.refusing = False  # no new connections
        self.links: set[Link] = set()
        self._join = join
        self._carry = carry
        self._refuse = refuse
        self._serving: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> int:
        """Cut every open connection; returns how many."""
        links = tuple(self.links)
        for link in links:
            link.cut()
        return len(links)

    async def aclose(self) -> None:
        """Close the port and every connection."""
        self.refusing = True
        self._server.close()
        while self._serving:
            self.cut()
            # one that was connecting just now is cut in the next round
            await asyncio.wait(self._serving, timeout=0.1)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            self._refuse(writer)
            return
        try:
            back, forth = await asyncio.open_connection(*self.target)
        except OSError:
            self._refuse(writer)
            return
        link = self._join(writer, forth)
        self.links.add(link)
        try:
            await self._carry(link, reader, back)
        finally:
            self.links.discard(link)
