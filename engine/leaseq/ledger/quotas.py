"""Quotas in the ledger: the rest of each, and its use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from msgspec import Struct

from leaseq.api_keys import RequestLimit
from leaseq.ledger.arrays import numbers, words
from leaseq.ledger.rows import reader
from leaseq.ledger.session import Session
from leaseq.model import TenantQuotas

# Before every id.
FIRST = "00000000-0000-0000-0000-000000000000"
# Changes of counts that are replaced by their sums.
LEAST_FOLDED, MOST_FOLDED = 100, 20_000
_to_quotas = reader(TenantQuotas)


class Taken(Struct, frozen=True):
    """The answer of one bucket."""

    granted: int
    tokens: float  # left


class TenantLimits(Struct, frozen=True):
    """The tenants that have a quota, by name, and what they are judged by."""

    tenants: dict[str, TenantQuotas]
    day: date  # UTC
    seconds_left: float  # of the day
    any_listed: bool  # unfinished tasks of any tenant, also of one without a quota


class ListedQueue(Struct, frozen=True):
    """A queue of one tenant, and the place behind which rows are swept."""

    tenant: str
    queue: str
    after: str = FIRST
    removed: bool = False  # the quota of the tenant


class Swept(Struct, frozen=True):
    """The result of one sweep in one queue of a tenant."""

    looked: int
    ended: int
    last: str


class QuotaLedger:
    """The quotas in Postgres."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def take_tokens(self, wanted: Mapping[str, tuple[RequestLimit, int]]) -> dict[str, Taken]:
        """Take tokens from the buckets of these keys: the limit of each, and how many.

        The tokens of an answer that was lost are gone.
        """
        params = {
            "key_ids": words(wanted),
            "rates": numbers(limit.rate for limit, _ in wanted.values()),
            "bursts": numbers(limit.burst for limit, _ in wanted.values()),
            "wanted": numbers(count for _, count in wanted.values()),
        }
        found = await self._session.fetch("take_tokens", params)
        return {key_id: Taken(granted, tokens) for key_id, granted, tokens in found}

    async def find_limits(self) -> TenantLimits:
        """The tenants that have a quota."""
        found = await self._session.fetch("find_tenant_limits", idempotent=True)
        return TenantLimits(
            {row.name: _to_quotas(row) for row in found if row.name is not None},
            found[0].day,
            found[0].seconds_left,
            found[0].any_listed,
        )

    async def count_unfinished(self) -> dict[tuple[str, str], int]:
        """The listed tasks of each tenant and queue."""
        found = await self._session.fetch("count_unfinished", idempotent=True)
        return {(row.tenant, row.queue): row.tasks for row in found}

    async def fold_counts(self) -> None:
        """Replace many changes of the number of unfinished tasks by their sums."""
        await self._session.fetch("fold_counts", {"least": LEAST_FOLDED, "most": MOST_FOLDED})

    async def begin_sweeps(self, tenants: Sequence[str], *, seconds: float) -> list[str]:
        """Take the sweeps of these tenants that no process has begun in the last `seconds`."""
        found = await self._session.fetch(
            "begin_sweeps", {"tenants": sorted(tenants), "seconds": seconds}
        )
        return [row.tenant for row in found]

    async def sweep_unfinished(
        self, queues: Sequence[ListedQueue], *, chunk: int
    ) -> dict[tuple[str, str], Swept]:
        """Remove rows of tasks that have ended, among the first `chunk` of each of these queues. A
        queue without rows is missing from the answer."""
        params = {
            "tenants": [each.tenant for each in queues],
            "queues": [each.queue for each in queues],
            "after": [each.after for each in queues],
            "removed": [each.removed for each in queues],
            "chunk": chunk,
        }
        found = await self._session.fetch("sweep_unfinished", params, idempotent=True)
        return {(row.tenant, row.queue): Swept(row.looked, row.ended, row.last) for row in found}

    async def write_payload_bytes(self, process: str, sums: Mapping[tuple[str, date], int]) -> None:
        """Write the bytes that this process has accepted, by tenant and day: the whole sums."""
        params = {
            "process": process,
            "tenants": [tenant for tenant, _ in sums],
            "days": [day for _, day in sums],
            "bytes": list(sums.values()),
        }
        await self._session.fetch("write_payload_bytes", params, idempotent=True)

    async def sum_payload_bytes(self, process: str, day: date) -> dict[str, int]:
        """The bytes that other processes have accepted on a day, by tenant."""
        found = await self._session.fetch(
            "sum_payload_bytes", {"process": process, "day": day}, idempotent=True
        )
        return {row.tenant: row.bytes for row in found}

    async def forget_payload_bytes(self, day: date) -> None:
        """Delete the sums of days before the day before this one."""
        await self._session.fetch("forget_payload_bytes", {"day": day}, idempotent=True)


__all__ = ["FIRST", "LEAST_FOLDED", "ListedQueue", "QuotaLedger", "Swept", "Taken", "TenantLimits"]
