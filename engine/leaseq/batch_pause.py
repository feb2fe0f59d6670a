"""Pause before the next batch of a stream, where the pause fills it.

In a stream of single tasks each batch would have one task, and that task alone would pay for a
statement and a commit. A short pause lets the tasks that arrive meanwhile share them.

Invariants. An item that comes alone never waits: the pause is counted from the start of the batch
before. A batch that is large already never waits. A pause that brought no second item is not
repeated for `REST_SECONDS`. So a chain of tasks, each submitted by the one before, loses at most
one pause in each such time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from time import monotonic

PAUSE_SECONDS = 0.005
REST_SECONDS = 0.1
# A batch of so many costs little more for each item than a larger one.
LARGE = 50


class BatchPause:
    """The pauses of one series of batches. `large`: a batch of so many goes without a pause, for
    series that never have `LARGE` items."""

    def __init__(self, *, large: int = LARGE, clock: Callable[[], float] = monotonic) -> None:
        self._large = min(large, LARGE)
        self._clock = clock
        self._began_at = -inf  # the last batch
        self._rest_until = -inf
        self._has_paused = False

    async def fill(self, waiting: int = 1) -> None:
        """Wait before a batch begins, for which so many items are known, if others may join it."""
        now = self._clock()
        seconds = self._began_at + PAUSE_SECONDS - now
        if waiting < self._large and seconds > 0 and now >= self._rest_until:
            self._has_paused = True
            await asyncio.sleep(seconds)

    def begin(self, count: int) -> None:
        """Note that a batch of so many items begins."""
        self._began_at = self._clock()
        if self._has_paused and count < 2:
            self._rest_until = self._began_at + REST_SECONDS
        self._has_paused = False


__all__ = ["BatchPause"]
