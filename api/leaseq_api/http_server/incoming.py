"""A body that is handed to the application in pieces, while it arrives.

Other bodies are handed over whole, so that a slow client occupies no application. Here the client
waits while too much of the body lies at the server: the connection reads on when the application
asks for the next piece.
"""

from __future__ import annotations

import asyncio

from leaseq_api.refused import Refused

# With so many bytes at the server, a body is read no further.
FULL_BYTES = 262_144


class StreamedBody:
    """The progress of such a body. The bytes themselves stand in the exchange."""

    __slots__ = ("_news", "_waits", "complete", "failure", "lost", "total")

    def __init__(self, *, told_to_wait: bool) -> None:
        self.total = 0
        self.complete = False
        # The client has gone.
        self.lost = False
        # The rest of the body is refused.
        self.failure: Refused | None = None
        self._waits = told_to_wait
        self._news = asyncio.Event()

    def add(self, count: int) -> int:
        """Note that bytes have arrived; returns how many there were so far."""
        self.total += count
        self._news.set()
        return self.total

    def end(self) -> None:
        """Note that the body is complete."""
        self.complete = True
        self._news.set()

    def fail(self, failure: Refused) -> None:
        """Note that the rest of the body is refused."""
        self.failure = failure
        self._news.set()

    def lose(self) -> None:
        """Note that the client has gone."""
        self.lost = True
        self._news.set()

    @property
    def ended(self) -> bool:
        """Whether no more bytes will arrive."""
        return self.complete or self.lost or self.failure is not None

    def awaits_continue(self) -> bool:
        """Whether the client waits for 100 before it sends; at the first call."""
        waits, self._waits = self._waits and not self.total, False
        return waits

    async def changed(self) -> None:
        """Wait for something to note."""
        self._news.clear()
        await self._news.wait()


__all__ = ["FULL_BYTES", "StreamedBody"]
