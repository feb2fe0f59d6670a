"""Statistics for pages, read at most every few seconds for all who look."""

from __future__ import annotations

from leaseq.operations.lists import Lists
from leaseq.operations.statistics.read import Statistics, Window
from leaseq_api.shared_reads import SharedReads


class SharedStatistics:
    """The last statistics of one process, by window, queue and type."""

    def __init__(self, lists: Lists) -> None:
        self._lists = lists
        self._reads = SharedReads()

    async def read(
        self, window: Window, *, queue: str | None = None, type_name: str | None = None
    ) -> Statistics:
        """The statistics of all tenants, a few seconds old at most. Raises as `Lists` does."""
        return await self._reads.read(
            (window, queue, type_name),
            lambda: self._lists.statistics(window, queue=queue, type_name=type_name),
        )


__all__ = ["SharedStatistics"]
