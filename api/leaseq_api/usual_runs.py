"""The usual run times, read at most once in a while for all who ask."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from leaseq.errors import LeaseqError
from leaseq.operations.lists import Lists
from leaseq.operations.running import Usual, usual_runs

# They are those of 24 hours, and hardly change in this time.
FRESH_SECONDS = 30.0


class UsualRuns:
    """The p95 of the run time of each type in each queue, of all tenants."""

    def __init__(self, lists: Lists) -> None:
        self._lists = lists
        self._lock = asyncio.Lock()
        self._last: Usual = {}
        self._read_at = float("-inf")

    async def read(self, tenant: str | None) -> Usual:
        """The run times that a request of this tenant may see: none, if it is bound to one. Those
        that cannot be read now are left out, because no list depends on them."""
        if tenant is not None:
            return {}
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if now - self._read_at >= FRESH_SECONDS:
                with suppress(LeaseqError):
                    self._last = usual_runs(await self._lists.statistics("24h"))
                self._read_at = now
        return self._last


__all__ = ["UsualRuns"]
