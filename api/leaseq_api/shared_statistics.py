"""Statistics for pages, read at most every few seconds for all who look."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from leaseq.operations.lists import Lists
from leaseq.operations.statistics.read import Statistics, Window

FRESH_SECONDS = 5.0
# Answers that are remembered: of windows, and of queues and types in them.
REMEMBERED = 100

Subject = tuple[Window, str | None, str | None]


class SharedStatistics:
    """The last statistics of one process, by window, queue and type."""

    def __init__(self, lists: Lists) -> None:
        self._lists = lists
        self._lock = asyncio.Lock()
        self._found: OrderedDict[Subject, tuple[float, Statistics]] = OrderedDict()

    async def read(
        self, window: Window, *, queue: str | None = None, type_name: str | None = None
    ) -> Statistics:
        """The statistics of all tenants, at most `FRESH_SECONDS` old. Raises as `Lists` does."""
        subject = (window, queue, type_name)
        async with self._lock:
            now = asyncio.get_running_loop().time()
            read_at, statistics = self._found.get(subject, (float("-inf"), None))
            if statistics is None or now - read_at >= FRESH_SECONDS:
                statistics = await self._lists.statistics(window, queue=queue, type_name=type_name)
                self._found[subject] = (now, statistics)
            self._found.move_to_end(subject)
            while len(self._found) > REMEMBERED:
                self._found.popitem(last=False)
            return statistics


__all__ = ["SharedStatistics"]
