"""Tenants in the ledger."""

from __future__ import annotations

from collections.abc import Mapping

from leaseq.ledger.rows import reader
from leaseq.ledger.session import Session
from leaseq.model import Tenant, TenantQuotas

_to_tenant = reader(Tenant)


class TenantLedger:
    """The tenants in Postgres."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def create(self, name: str) -> Tenant | None:
        """Make a tenant known. None: it was known."""
        found = await self._session.fetch("create_tenant", {"name": name})
        return _to_tenant(found[0]) if found else None

    async def limit(
        self, name: str, changes: Mapping[str, int | None]
    ) -> tuple[TenantQuotas, Tenant] | None:
        """Set or remove (None) quotas of a tenant, by the names of `TenantQuotas`. Returns its
        quotas before, and the tenant. None: there is no such tenant."""
        params = {
            "name": name,
            "changed": list(changes),
            "unfinished": changes.get("unfinished"),
            "unfinished_per_queue": changes.get("unfinished_per_queue"),
            "payload_bytes_per_day": changes.get("payload_bytes_per_day"),
        }
        found = await self._session.fetch("limit_tenant", params, idempotent=True)
        if not found:
            return None
        fields = TenantQuotas.__struct_fields__
        before = {field: getattr(found[0], f"{field}_before") for field in fields}
        return TenantQuotas(**before), _to_tenant(found[0])

    async def list_tenants(self) -> list[Tenant]:
        """Every known tenant."""
        return [
            _to_tenant(row) for row in await self._session.fetch("list_tenants", idempotent=True)
        ]


__all__ = ["TenantLedger"]
