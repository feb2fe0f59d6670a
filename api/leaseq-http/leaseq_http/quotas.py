"""The quotas of a tenant, as the service answers them."""

from __future__ import annotations

from msgspec import Struct


class Quota(Struct, frozen=True, kw_only=True):
    """A limit, its use, and the rest of it."""

    limit: int
    used: int
    left: int


class QueueQuota(Quota, frozen=True, kw_only=True):
    """The use of a limit in one queue."""

    queue: str


class ByteQuota(Quota, frozen=True, kw_only=True):
    """The use of a limit on one UTC day, and the seconds until the next one."""

    resets_in_seconds: int


class TenantQuota(Struct, frozen=True, kw_only=True):
    """The quotas of a tenant. None: there is no such limit."""

    tenant: str
    unfinished: Quota | None
    unfinished_per_queue: list[QueueQuota] | None
    payload_bytes_per_day: ByteQuota | None


__all__ = ["ByteQuota", "QueueQuota", "Quota", "TenantQuota"]
