"""How slow the machine of a run is.

A bound in seconds means something only on a machine that has the time to work. The measure is how
much longer a piece of work takes than the processor time that it needs. A run keeps its own
processors busy, so twice as long counts as ordinary.
"""

from __future__ import annotations

import asyncio
from time import perf_counter, thread_time

__all__ = ["Pace"]

EVERY_SECONDS = 1.0
WORK_SECONDS = 0.01  # of processor time
ORDINARY = 2.0
MOST = 6.0
RANK = 0.75  # of the measurements: a bound is missed in the slow ones


class Pace:
    """Measures until it is cancelled."""

    def __init__(self, *, every_seconds: float = EVERY_SECONDS) -> None:
        self._every_seconds = every_seconds
        self._stretched: list[float] = []

    async def measure(self) -> None:
        while True:
            began, used = perf_counter(), thread_time()
            while (needed := thread_time() - used) < WORK_SECONDS:
                pass
            self._stretched.append((perf_counter() - began) / needed)
            await asyncio.sleep(self._every_seconds)

    @property
    def slowness(self) -> float:
        """By how much bounds have to be larger than on a machine that has nothing else to do: at
        least 1."""
        return slowness_of(self._stretched)


def slowness_of(stretched: list[float]) -> float:
    """The same, of measurements: times by which work took longer than it needed."""
    if not stretched:
        return 1.0
    ranked = sorted(stretched)[int(RANK * (len(stretched) - 1))]
    return round(min(MOST, max(1.0, ranked / ORDINARY)), 2)
