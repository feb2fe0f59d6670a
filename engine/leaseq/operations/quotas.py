"""Quotas, for the HTTP service, which applies them (docs/quotas.md)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date

from leaseq.api_keys import RequestLimit
from leaseq.ledger.quotas import ListedQueue, QuotaLedger, Swept, Taken, TenantLimits
from leaseq.ledger.tasks import TaskLedger
from leaseq.model import Submission


class Quotas:
    """The quotas of one ledger."""

    def __init__(self, ledger: QuotaLedger, tasks: TaskLedger) -> None:
        self._ledger = ledger
        self._tasks = tasks

    async def take_tokens(self, wanted: Mapping[str, tuple[RequestLimit, int]]) -> dict[str, Taken]:
        """Take tokens from the buckets of these API keys: the limit of each, and how many."""
        return await self._ledger.take_tokens(wanted)

    async def find_limits(self) -> TenantLimits:
        """The tenants that have a quota."""
        return await self._ledger.find_limits()

    def list_tasks_of(self, tenants: Collection[str]) -> None:
        """List each task that this process records for these tenants from now on, in the same
        transaction."""
        self._tasks.counted = frozenset(tenants)

    async def count_unfinished(self) -> dict[tuple[str, str], int]:
        """The listed tasks of each tenant and queue."""
        return await self._ledger.count_unfinished()

    async def fold_counts(self) -> None:
        """Replace many changes of the number of unfinished tasks by their sums."""
        await self._ledger.fold_counts()

    async def find_replays(self, batch: Sequence[Submission]) -> set[str]:
        """The task ids of those submissions whose idempotency key stands for a task already."""
        keyed = {
            (s.tenant, s.idempotency_key): s.task_id for s in batch if s.idempotency_key is not None
        }
        found = await self._tasks.find_keys(list(keyed)) if keyed else {}
        return {
            s.task_id
            for s in batch
            if s.idempotency_key is not None and (s.tenant, s.idempotency_key) in found
        }

    async def begin_sweeps(self, tenants: Sequence[str], *, seconds: float) -> list[str]:
        """Take the sweeps of these tenants that no process has begun in the last `seconds`."""
        return await self._ledger.begin_sweeps(tenants, seconds=seconds)

    async def sweep_unfinished(
        self, queues: Sequence[ListedQueue], *, chunk: int
    ) -> dict[tuple[str, str], Swept]:
        """Remove rows of tasks that have ended, as `QuotaLedger.sweep_unfinished` does."""
        return await self._ledger.sweep_unfinished(queues, chunk=chunk)

    async def write_payload_bytes(self, process: str, sums: Mapping[tuple[str, date], int]) -> None:
        """Write the bytes that this process has accepted, by tenant and day: the whole sums."""
        await self._ledger.write_payload_bytes(process, sums)

    async def sum_payload_bytes(self, process: str, day: date) -> dict[str, int]:
        """The bytes that other processes have accepted on a day, by tenant."""
        return await self._ledger.sum_payload_bytes(process, day)

    async def forget_payload_bytes(self, day: date) -> None:
        """Delete the sums of days before the day before this one."""
        await self._ledger.forget_payload_bytes(day)


__all__ = ["ListedQueue", "Quotas", "Swept", "Taken", "TenantLimits"]
