"""The state of the cluster, read at most once a second for all who ask."""

from __future__ import annotations

import asyncio

from leaseq.operations.overview.answer import Overview
from leaseq.operations.overview.read_overview import OverviewReader, for_tenant
from leaseq_api.security.principal import Principal

FRESH_SECONDS = 1.0


class SharedOverview:
    """The last overview of one process. Requests that come while one is being read share it."""

    def __init__(self, reader: OverviewReader) -> None:
        self._reader = reader
        self._lock = asyncio.Lock()
        self._last: Overview | None = None
        self._read_at = float("-inf")

    async def read(self, principal: Principal) -> Overview:
        """The overview that a request may see, at most `FRESH_SECONDS` old. Raises as the reader
        does, and `ListsBusy`."""
        overview = await self.whole()
        return overview if principal.tenant is None else for_tenant(overview)

    async def whole(self) -> Overview:
        """The same, with every number."""
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if self._last is None or now - self._read_at >= FRESH_SECONDS:
                self._last = await self._reader.read()
                self._read_at = now
            return self._last

    def forget(self) -> None:
        """Let the next request read again, because this process has changed something."""
        self._read_at = float("-inf")

    @property
    def last(self) -> Overview | None:
        """The newest one that was read, of any age. None: none was."""
        return self._last


__all__ = ["SharedOverview"]
