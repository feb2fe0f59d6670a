"""The examples of the OpenAPI document about API keys and tenants."""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec import Struct

from leaseq.api_keys import ApiKey, IssuedKey
from leaseq.model import Tenant
from leaseq_api.access_schemas import (
    ApiKeyList,
    ByteQuotaUse,
    KeyBody,
    KeyLimitBody,
    QuotaUse,
    QuotaView,
    RotateBody,
    TenantBody,
    TenantList,
    TenantQuotasBody,
    TenantView,
)

KEY_ID = "k7w2m9x4q1zp"
ACCESS_PARAMETERS = {"key_id": KEY_ID, "name": "acme"}
_CREATED_AT = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
_KEY = ApiKey(
    id=KEY_ID,
    name="shop",
    scopes=["submit", "read"],
    tenant="acme",
    created_at=_CREATED_AT,
    expires_at=None,
    revoked_at=None,
    replaced_by=None,
    last_used_at=None,
    rate=100.0,
    burst=200,
)
_TENANT = Tenant(
    name="acme", created_at=_CREATED_AT, unfinished=10_000, payload_bytes_per_day=10**9
)
# By the name of the schema: name of the example, then what it shows, and the value.
ACCESS_EXAMPLES: dict[str, dict[str, tuple[str, Struct]]] = {
    "KeyBody": {
        "bound": (
            "A key for a service of one tenant",
            KeyBody(name="shop", scopes=["submit", "read"], tenant="acme"),
        )
    },
    "KeyLimitBody": {
        "limit": (
            "100 requests a second, and 200 at one time",
            KeyLimitBody(rate=100.0, burst=200),
        )
    },
    "RotateBody": {"day": ("The old key goes on for a day", RotateBody())},
    "IssuedKey": {
        "issued": (
            "A new key, with its text",
            IssuedKey(text=f"lq_{KEY_ID}_" + "X" * 49, key=_KEY),
        )
    },
    "ApiKey": {"key": ("A key", _KEY)},
    "ApiKeyList": {"keys": ("One key", ApiKeyList(keys=[_KEY]))},
    "TenantBody": {"tenant": ("A tenant", TenantBody(name="acme"))},
    "TenantQuotasBody": {
        "quotas": (
            "10,000 unfinished tasks and 1 GB of payloads a day; no limit for each queue",
            TenantQuotasBody(
                unfinished=10_000, unfinished_per_queue=None, payload_bytes_per_day=10**9
            ),
        )
    },
    "QuotaView": {
        "quotas": (
            "Two quotas, and the rest of each",
            QuotaView(
                tenant="acme",
                unfinished=QuotaUse(limit=10_000, used=3_700, left=6_300),
                unfinished_per_queue=None,
                payload_bytes_per_day=ByteQuotaUse(
                    limit=10**9, used=250_000_000, left=750_000_000, resets_in_seconds=28_800
                ),
            ),
        )
    },
    "Tenant": {"tenant": ("A tenant with quotas", _TENANT)},
    "TenantView": {"created": ("It was not known before", TenantView(name="acme", created=True))},
    "TenantList": {
        "tenants": ("One tenant", TenantList(tenants=[_TENANT])),
    },
}

__all__ = ["ACCESS_EXAMPLES", "ACCESS_PARAMETERS"]
