"""The bodies and the answers of the routes about API keys, tenants and quotas."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from leaseq.api_keys import ApiKey, ScopeName
from leaseq.model import YEAR_SECONDS, Tenant
from leaseq.operations.access import (
    LEAST_RATE,
    LONGEST_OVERLAP_SECONDS,
    MOST_BURST,
    MOST_OF_QUOTA,
    MOST_RATE,
)
from leaseq.options import NAME_KEYWORDS, described
from leaseq_api.schemas import Name

Rate = Annotated[
    float,
    Meta(
        ge=LEAST_RATE,
        le=MOST_RATE,
        description="Requests that the key may send each second; null: no limit",
    ),
]
Burst = Annotated[
    int,
    Meta(
        ge=1,
        le=MOST_BURST,
        description="Requests that it may send at one time, after a pause; null: those of a second",
    ),
]


Count = Annotated[int, Meta(ge=0)]
Unfinished = Annotated[
    int,
    Meta(
        ge=0,
        le=MOST_OF_QUOTA["unfinished"],
        description="Tasks of the tenant that have not ended; null: no limit",
    ),
]
UnfinishedPerQueue = Annotated[
    int,
    Meta(
        ge=0,
        le=MOST_OF_QUOTA["unfinished_per_queue"],
        description="The same in each queue; null: no limit",
    ),
]
PayloadBytes = Annotated[
    int,
    Meta(
        ge=0,
        le=MOST_OF_QUOTA["payload_bytes_per_day"],
        description="Bytes of payloads in a UTC day; null: no limit",
    ),
]


class KeyBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /api/keys`."""

    name: Annotated[
        str,
        described("A name for people: the service that uses the key", minLength=1, maxLength=128),
    ]
    scopes: Annotated[
        list[ScopeName], Meta(min_length=1, description="Scopes that the key of the request has")
    ]
    tenant: (
        Annotated[str, described("A known tenant. null: the key is for operators", **NAME_KEYWORDS)]
        | None
    )
    expires_seconds: (
        Annotated[float, Meta(gt=0, le=100 * YEAR_SECONDS, description="From now; null: never")]
        | None
    ) = None
    rate: Rate | None = None
    burst: Burst | None = None


class KeyLimitBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `PATCH /api/keys/{key_id}`."""

    rate: Rate | None
    burst: Burst | None = None


class RotateBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /api/keys/{key_id}/rotate`."""

    overlap_seconds: Annotated[
        float,
        Meta(ge=0, le=LONGEST_OVERLAP_SECONDS, description="How long the old key goes on"),
    ] = 86_400.0


class ApiKeyList(Struct, frozen=True, kw_only=True):
    """API keys, newest first, without their texts."""

    keys: list[ApiKey]


class TenantBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /api/tenants`."""

    name: Annotated[str, described("The name of the tenant", **NAME_KEYWORDS)]


class TenantQuotasBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `PATCH /api/tenants/{name}`. A quota that is left out stays as it is."""

    unfinished: Unfinished | UnsetType | None = UNSET
    unfinished_per_queue: UnfinishedPerQueue | UnsetType | None = UNSET
    payload_bytes_per_day: PayloadBytes | UnsetType | None = UNSET


class QuotaUse(Struct, frozen=True, kw_only=True):
    """A limit, its use, and the rest of it."""

    limit: Count
    used: Count
    left: Count


class QueueQuotaUse(QuotaUse, frozen=True, kw_only=True):
    """The use of a limit in one queue."""

    queue: Name


class ByteQuotaUse(QuotaUse, frozen=True, kw_only=True):
    """The use of a limit on one UTC day."""

    resets_in_seconds: Annotated[int, Meta(ge=1, description="The beginning of the next day")]


class QuotaView(Struct, frozen=True, kw_only=True):
    """The quotas of a tenant. null: there is no such limit, and its use is not counted."""

    tenant: Name
    unfinished: QuotaUse | None
    unfinished_per_queue: (
        Annotated[
            list[QueueQuotaUse],
            Meta(description="Queues with unfinished tasks, by name: the fullest 1,000"),
        ]
        | None
    )
    payload_bytes_per_day: ByteQuotaUse | None


class TenantView(Struct, frozen=True, kw_only=True):
    """A tenant that is known."""

    name: Name
    created: bool


class TenantList(Struct, frozen=True, kw_only=True):
    """Every tenant that is known."""

    tenants: list[Tenant]


__all__ = [
    "ApiKeyList",
    "ByteQuotaUse",
    "KeyBody",
    "KeyLimitBody",
    "QueueQuotaUse",
    "QuotaUse",
    "QuotaView",
    "RotateBody",
    "TenantBody",
    "TenantList",
    "TenantQuotasBody",
    "TenantView",
]
