"""A TCP proxy that injects network faults on demand.

A TCP proxy on the loopback, one for each way from a service to a store, and from the clients to an
API. It forwards bytes and knows nothing of the protocols. Invariants: its port stays its own for
the whole run; `clear` ends every fault, and cuts the connections whose bytes it has dropped, since
no network gives those back.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from enum import StrEnum

from leaseq_chaos.cluster.relay import Relay

__all__ = ["Proxy", "Way"]

READ_BYTES = 65_536


class Way(StrEnum):
    """A direction."""

    FORTH = "forth"  # from the client to the server
    BACK = "back"


def reset(end: asyncio.StreamWriter) -> None:
    """Close with a RST, and without what may still wait to be sent."""
    if not end.transport.is_closing():
        end.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
    end.transport.abort()


class Link:
    """One connection through the proxy."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.ends = {Way.FORTH: server, Way.BACK: client}
        self.asked = b""  # what the client has sent last, since the last reply
        self.dropped = False  # are bytes missing?

    def cut(self) -> None:
        """Reset both sides."""
        for end in self.ends.values():
            reset(end)


class Proxy:
    """A port of 127.0.0.1 that leads to another one, and can be redirected."""

    def __init__(self, name: str, target_port: int) -> None:
        self.name = name
        self._relay = Relay(
            ("127.0.0.1", target_port), join=Link, carry=self._carry_both, refuse=reset
        )
        self._flowing = {way: asyncio.Event() for way in Way}
        for event in self._flowing.values():
            event.set()
        self.delay_seconds = 0.0  # of each read, in both directions
        # bytes in that direction vanish without an error
        self.swallowing: frozenset[Way] = frozenset()
        self.lost_replies = 0  # how many replies have been lost so far
        self.cuts = 0  # how many connections were cut in the middle
        self._lose_at: int | None = None
        self._lose_to = b""
        self._cut_at: int | None = None

    @property
    def port(self) -> int:
        return self._relay.port

    @property
    def open_links(self) -> int:
        return len(self._relay.links)

    async def start(self) -> None:
        await self._relay.start()

    @property
    def leads_to(self) -> int:
        return self._relay.target[1]

    def refuse(self) -> None:
        """New connections are reset."""
        self._relay.refusing = True

    def lead_to(self, port: int) -> None:
        """New connections go to another server. Open ones stay where they are, as behind a DNS name
        that has moved."""
        self._relay.target = ("127.0.0.1", port)

    def stall(self, *ways: Way) -> None:
        """Bytes that way (both, if none is named) stay under way; connections stay up."""
        for way in ways or tuple(Way):
            self._flowing[way].clear()

    def swallow(self, *ways: Way) -> None:
        """Bytes that way (both, if none is named) vanish: a peer that went without a word."""
        self.swallowing = frozenset(ways or tuple(Way))

    def lose_reply(self, nth: int = 1, *, to: bytes = b"") -> None:
        """The n-th reply from now (to a request with these bytes in it) is lost after the server
        has carried out the asked; its connection is cut."""
        self._lose_at, self._lose_to = nth, to

    def cut_after(self, count: int) -> None:
        """After so many more bytes of replies, the connection of the last one is cut, in the middle
        of a frame perhaps."""
        self._cut_at = count

    def reset(self) -> int:
        """Reset every open connection; returns how many."""
        return self._relay.cut()

    def clear(self) -> None:
        """No more faults."""
        self.delay_seconds = 0.0
        self._relay.refusing = False
        self.swallowing = frozenset()
        self._lose_at = self._cut_at = None
        for link in tuple(self._relay.links):
            if link.dropped:
                link.cut()
        for event in self._flowing.values():
            event.set()

    async def aclose(self) -> None:
        """Close the port and every connection."""
        self.clear()
        await self._relay.aclose()

    async def _carry_both(
        self, link: Link, forth: asyncio.StreamReader, back: asyncio.StreamReader
    ) -> None:
        await asyncio.gather(self._carry(link, forth, Way.FORTH), self._carry(link, back, Way.BACK))

    async def _carry(self, link: Link, reader: asyncio.StreamReader, way: Way) -> None:
        """Bytes one way, until either side ends: that is the end of both."""
        end = link.ends[way]
        try:
            while chunk := await reader.read(READ_BYTES):
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                await self._flowing[way].wait()
                if way in self.swallowing:
                    link.dropped = True
                elif way is Way.BACK and self._interrupts(link, chunk):
                    link.cut()
                elif end.transport.is_closing():
                    break
                else:
                    link.asked = chunk if way is Way.FORTH else b""
                    end.write(chunk)
                    await end.drain()
        except OSError:
            pass
        for side in link.ends.values():
            side.close()

    def _interrupts(self, link: Link, chunk: bytes) -> bool:
        """Is this the reply to lose, or the one to break off? Then what may still arrive has been
        written."""
        if self._lose_at is not None and link.asked and self._lose_to in link.asked:
            self._lose_at -= 1
            if self._lose_at <= 0:
                self._lose_at = None
                self.lost_replies += 1
                return True
        if self._cut_at is not None:
            if len(chunk) >= self._cut_at:
                link.ends[Way.BACK].write(chunk[: self._cut_at])
                self._cut_at = None
                self.cuts += 1
                return True
            self._cut_at -= len(chunk)
        return False
