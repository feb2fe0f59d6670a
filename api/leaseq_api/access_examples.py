"""The examples of the OpenAPI document about API keys and tenants."""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec import Struct

from leaseq.api_keys import ApiKey, IssuedKey
from leaseq.model import Tenant
from leaseq_api.access_schemas import (
    ApiKeyList,
    KeyBody,
    KeyLimitBody,
    RotateBody,
    TenantBody,
    TenantList,
    TenantView,
)

KEY_ID = "k7w2m9x4q1zp"
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
    "TenantView": {"created": ("It was not known before", TenantView(name="acme", created=True))},
    "TenantList": {
        "tenants": ("One tenant", TenantList(tenants=[Tenant("acme", _CREATED_AT)])),
    },
}

__all__ = ["ACCESS_EXAMPLES", "KEY_ID"]
