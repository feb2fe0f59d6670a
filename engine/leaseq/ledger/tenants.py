"""Tenants in the ledger."""

from __future__ import annotations

from leaseq.ledger.session import Session
from leaseq.model import Tenant


class TenantLedger:
    """The tenants in Postgres."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def create(self, name: str) -> Tenant | None:
        """Make a tenant known. None: it was known."""
        found = await self._session.fetch("create_tenant", {"name": name})
        return Tenant(name=found[0].name, created_at=found[0].created_at) if found else None

    async def list_tenants(self) -> list[Tenant]:
        """Every known tenant."""
        found = await self._session.fetch("list_tenants", idempotent=True)
        return [Tenant(name=row.name, created_at=row.created_at) for row in found]


__all__ = ["TenantLedger"]
