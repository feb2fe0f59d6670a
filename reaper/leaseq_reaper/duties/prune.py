"""Delete rows past their retention, and unused queues.

Deleted are tasks that finished longer ago than their retention, which may be that of their type
(their keys stay, and remember how they ended), keys past their own retention, workers closed for a
day, services not seen for a day, notices past a week, operations and statistics past their retention, and queues without
tasks and workers (unused_queues.py). This happens in small batches, each followed by a pause as long
as the batch, so that pruning uses at most half of one connection and holds no lock for long. Tasks
are scanned in order; if a pass did not reach the end, the next one continues.

A scan reaches from the oldest task to the shortest retention of all, and reads tasks that have to
stay for longer. After a scan that has read many of them the next one waits, so that on average at
most `STAYING_PER_SECOND` of them are read in a second.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime

from leaseq.codec import FIRST_ID
from leaseq.config import Config
from leaseq.observability.telemetry import emit
from leaseq.operations.stores import Stores
from leaseq_reaper.duties.suspicion import Clock
from leaseq_reaper.duties.unused_queues import UnusedQueues
from leaseq_reaper.reconcile.ledger_scan import first_recent_id

BATCH = 1000
# The share of the time between two passes, for tasks and for keys. The rest waits for the next
# pass.
SHARE = 0.25
STAYING_PER_SECOND = 20_000
WORKER_RETENTION_SECONDS = 86_400.0
SERVICE_RETENTION_SECONDS = 86_400.0
NOTICE_RETENTION_SECONDS = 7 * 86_400.0
MOST_NOTICES = 100_000


class Prune:
    """The duty."""

    def __init__(self, stores: Stores, config: Config, *, clock: Clock = time.monotonic) -> None:
        self._maintenance = stores.maintenance
        self._stats = stores.statistics
        self._types = stores.task_types
        self._retention = config.task_retention_seconds
        self._operation_retention = config.operation_retention_seconds
        self._interval = config.prune_interval_seconds
        self._seconds = SHARE * config.prune_interval_seconds
        self._clock = clock
        self._cursor = FIRST_ID
        self._retentions: dict[str, float] = {}
        self._stayed = 0  # tasks of this scan that have to stay
        self._rests_until = float("-inf")
        self._expired: datetime | None = None
        self._unused = UnusedQueues(
            stores, interval_seconds=config.prune_interval_seconds, clock=clock
        )

    async def run_once(self) -> None:
        """Delete for a while, of each kind: even with many tasks, keys get their share."""
        tasks = 0
        if self._cursor != FIRST_ID or self._clock() >= self._rests_until:
            self._retentions = await self._types.find_retentions()
            tasks = await self._in_batches(self._tasks)
        self._expired = None
        keys = await self._in_batches(self._keys)
        await self._in_batches(self._uniques)
        workers = await self._maintenance.prune_workers(retention_seconds=WORKER_RETENTION_SECONDS)
        await self._maintenance.prune_services(retention_seconds=SERVICE_RETENTION_SECONDS)
        operations = await self._in_batches(self._operations)
        await self._in_batches(self._notices)
        await self._in_batches(self._statistics)
        await self._unused.run_once()
        if tasks or keys or workers:
            emit("task.pruned", count=tasks, keys=keys, workers=workers)
        if operations:
            emit("operation.pruned", count=operations)

    async def _tasks(self) -> tuple[int, bool]:
        # A task's id is always older than its finish time. Postgres decides, by its clock, whether
        # that is long enough ago.
        before = first_recent_id(min([self._retention, *self._retentions.values()]))
        pruned = await self._maintenance.prune_tasks(
            after=self._cursor,
            before=before,
            retention_seconds=self._retention,
            retentions=self._retentions,
            limit=BATCH,
        )
        self._cursor = pruned.last_id or FIRST_ID
        if pruned.last_id is not None:
            self._stayed += BATCH - pruned.count
        else:
            self._rest()
        return pruned.count, pruned.last_id is not None

    def _rest(self) -> None:
        """The scan is at its end."""
        seconds, self._stayed = self._stayed / STAYING_PER_SECOND, 0
        if seconds > self._interval:  # a pass comes no sooner anyway
            self._rests_until = self._clock() + seconds

    async def _keys(self) -> tuple[int, bool]:
        pruned = await self._maintenance.prune_keys(since=self._expired, limit=BATCH)
        self._expired = pruned.last
        return pruned.count, pruned.seen == BATCH

    async def _uniques(self) -> tuple[int, bool]:
        count = await self._maintenance.prune_uniques(limit=BATCH)
        return count, count == BATCH

    async def _operations(self) -> tuple[int, bool]:
        count = await self._maintenance.prune_operations(
            retention_seconds=self._operation_retention, limit=BATCH
        )
        return count, count == BATCH

    async def _statistics(self) -> tuple[int, bool]:
        count = await self._stats.prune(limit=BATCH)
        return count, count >= BATCH

    async def _notices(self) -> tuple[int, bool]:
        count = await self._maintenance.prune_notices(
            retention_seconds=NOTICE_RETENTION_SECONDS, most=MOST_NOTICES, limit=BATCH
        )
        return count, count == BATCH

    async def _in_batches(self, prune: Callable[[], Awaitable[tuple[int, bool]]]) -> int:
        """Prune until nothing is left, or the time is over. `prune` returns the number deleted, and
        if there may be more."""
        until = self._clock() + self._seconds
        total = 0
        while True:
            began = self._clock()
            count, more = await prune()
            total += count
            if not more or self._clock() >= until:
                return total
            await asyncio.sleep(self._clock() - began)


__all__ = ["Prune"]
