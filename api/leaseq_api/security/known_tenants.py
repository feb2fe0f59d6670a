"""The names of the tenants that this process has seen in the ledger."""

from __future__ import annotations

import asyncio

from leaseq.operations.access import Access
from leaseq_api.refused import Refused

# Names that are not known cost one read of the list at most this often. A request waits for the next
# one, because its tenant may have been created since the last one.
READ_EVERY_SECONDS = 1.0


class KnownTenants:
    """The tenants of one ledger. None is ever removed."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._names: frozenset[str] = frozenset()
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    async def require(self, name: str) -> None:
        """Raise `Refused` if there is no such tenant."""
        if name in self._names:
            return
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        async with self._reading:
            # All that have asked before a read began share it.
            if name not in self._names and self._read_at < asked_at:
                await asyncio.sleep(self._read_at + READ_EVERY_SECONDS - loop.time())
                began = loop.time()
                self._names = frozenset(each.name for each in await self._access.list_tenants())
                self._read_at = began
        if name not in self._names:
            raise Refused("tenant_unknown", "there is no tenant of the name in Leaseq-Tenant")


__all__ = ["KnownTenants"]
