"""Bound the attempts of one process: those that run, and those unsettled.

Two bounds keep memory and the ledger from being flooded: `concurrency` handlers run, and at most
three times as many attempts exist, including those whose endings are not written yet. Intake waits
here: backpressure instead of growth.
"""

from __future__ import annotations

import asyncio

# One batch is being claimed, one is being written, and one waits for that: neither side of the
# worker waits for the other.
UNSETTLED = 3


class Slots:
    """Counts the attempts that run, and those that are unsettled."""

    def __init__(self, concurrency: int) -> None:
        self.concurrency = concurrency
        self.running = 0
        self.unsettled = 0
        self.lingering = 0  # slots whose attempts have ended and whose handlers still run
        self._changed = asyncio.Event()
        self._is_awaited = False  # so that a change costs no call while nothing waits here

    @property
    def free(self) -> int:
        return min(self.concurrency - self.running, UNSETTLED * self.concurrency - self.unsettled)

    def take(self, count: int) -> None:
        """Count attempts that begin."""
        self.running += count
        self.unsettled += count

    def linger(self) -> None:
        """Count an attempt that ends without its handler, which keeps the slot."""
        self.lingering += 1

    def stop_lingering(self) -> None:
        """Count a handler that has ended after its attempt. Its slot is given back besides."""
        self.lingering -= 1

    def give_back(self) -> None:
        """Free the slot of a handler that is done. Its ending need not be written yet."""
        self.running -= 1
        if self._is_awaited:
            self.wake()

    def mark_settled(self) -> None:
        """Count an ending that is written."""
        self.unsettled -= 1
        if self._is_awaited:
            self.wake()

    def wake(self) -> None:
        """Let everything that waits here look again."""
        self._is_awaited = False
        self._changed.set()

    async def wait(self) -> None:
        """Wait until something changes."""
        self._changed.clear()
        self._is_awaited = True
        await self._changed.wait()

    async def wait_for_quick_ends(self) -> None:
        """Let handlers that were just started and wait for nothing give back their slots.

        Before Python 3.12 they run in the next turn of the loop, and give back in the one after it.
        A claim that looks sooner is small, and small claims would alternate with large ones from
        then on.
        """
        for _ in range(2):
            if self.running:
                await asyncio.sleep(0)

    async def wait_for_one(self, seconds: float) -> None:
        """Wait until a slot is free, at most for so long."""
        try:
            async with asyncio.timeout(seconds):
                while self.free <= 0:
                    await self.wait()
        except TimeoutError:
            return


__all__ = ["Slots"]
