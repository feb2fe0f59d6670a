"""Count the bytes that were written to a client and not yet read by it.

The event loop says when too many have gathered and when few are left. Between the two they count as
in flight, the application waits, and the client has a time in which to take the next of them.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import Protocol

from leaseq_api.http_server.limits import Limits


class Counter(Protocol):
    """The number of bytes in flight, of the whole server."""

    in_flight: int


class Outgoing:
    """The outgoing side of one connection."""

    __slots__ = ("_counter", "_limits", "_transport", "_unsent", "_writable", "deadline")

    def __init__(self, transport: asyncio.Transport, counter: Counter, limits: Limits) -> None:
        self.deadline = inf
        self._transport = transport
        self._counter = counter
        self._limits = limits
        self._unsent = 0
        self._writable: asyncio.Event | None = None

    @property
    def stuck(self) -> bool:
        """Whether the client has not yet read all written bytes."""
        return self._writable is not None

    def pause(self) -> None:
        """Too many bytes have gathered."""
        self._writable = asyncio.Event()
        self.watch()

    def resume(self) -> None:
        """Few bytes are left, or none will be taken any more."""
        if not self._transport.is_closing():
            self.deadline = inf
        self._counter.in_flight -= self._unsent
        self._unsent = 0
        if self._writable is not None:
            self._writable.set()
            self._writable = None

    async def drained(self) -> None:
        """Wait until few bytes are left."""
        if self._writable is not None:
            await self._writable.wait()

    def watch(self) -> None:
        """Count the unread bytes, and give the client its time for them."""
        unsent = self._transport.get_write_buffer_size()
        self._counter.in_flight += unsent - self._unsent
        self._unsent = unsent
        self.deadline = asyncio.get_running_loop().time() + self._limits.write_seconds

    def check(self) -> None:
        """At the deadline: go on watching a client that takes its answer, drop one that does
        not."""
        if self._unsent - self._transport.get_write_buffer_size() < self._limits.write_bytes:
            self._transport.abort()
        else:
            self.watch()


__all__ = ["Outgoing"]
