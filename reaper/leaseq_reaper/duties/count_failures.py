"""Add failed attempts to the groups of their type and fingerprint.

A settle hands each failed attempt over as a row of `leaseq.uncounted_failures`. A step takes rows
and adds them to `leaseq.failures` and `leaseq.failure_counts` in one statement, so each attempt
counts exactly once: a reaper that dies in a step has taken nothing, and of two reapers only one
works at a time. A settle that commits late hands its rows over late, and loses none of them, because
a row waits until it is taken.

Taken rows leave entries in the index behind, at its head, while a long transaction anywhere still
sees them. So most steps begin where the steps REREAD_SECONDS ago stood. A row that becomes visible
later than that (its commit waited for a standby, or the clock of Postgres was set back) lies before
this position. A whole look, from the beginning, finds it; one follows each WHOLE_SECONDS.

Every PRUNE_SECONDS a batch of counts and groups that are past their retention is deleted.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from leaseq.failpoints import reach
from leaseq.observability.telemetry import emit
from leaseq.operations.stores import Stores
from leaseq_reaper.duties.suspicion import Clock
from leaseq_reaper.duty_runner import IdleBackoff

INTERVAL_SECONDS = 1.0
IDLE_FACTOR = 5.0
BATCH = 5_000
# Steps of one pass: the next pass follows soon.
STEPS = 10
REREAD_SECONDS = 10.0
WHOLE_SECONDS = 60.0
# Of counts by ten minutes and by hour, and of groups that do not occur any more.
FINE_COUNT_SECONDS = 7_200.0
COARSE_COUNT_SECONDS = 8 * 86_400.0
FAILURE_RETENTION_SECONDS = 30 * 86_400.0
PRUNE_SECONDS = 60.0
PRUNED = 1_000


class CountFailures:
    """The duty."""

    def __init__(self, stores: Stores, *, clock: Clock = time.monotonic) -> None:
        self._failures = stores.failures
        self._clock = clock
        self._since: datetime | None = None
        self._whole_at = float("-inf")
        self._prune_at = float("-inf")
        self.idle = IdleBackoff(IDLE_FACTOR)

    async def run_once(self) -> None:
        """Take the attempts that were handed over, in steps, and forget old ones."""
        await self._count()
        if self._clock() >= self._prune_at:
            self._prune_at = self._clock() + PRUNE_SECONDS
            await self._failures.prune(
                fine_seconds=FINE_COUNT_SECONDS,
                coarse_seconds=COARSE_COUNT_SECONDS,
                group_seconds=FAILURE_RETENTION_SECONDS,
                limit=PRUNED,
            )

    async def _count(self) -> None:
        if self._clock() >= self._whole_at:
            self._since, self._whole_at = None, self._clock() + WHOLE_SECONDS
        total = 0
        for _ in range(STEPS):
            counted = await self._failures.count(since=self._since, limit=BATCH)
            if counted.count:
                reach("failures.counted")
            total += counted.count
            if counted.last is not None:
                self._since = counted.last - timedelta(seconds=REREAD_SECONDS)
            for group in counted.fresh:
                emit(
                    "failure.appeared",
                    type=group.type,
                    fingerprint=group.fingerprint,
                    code=group.code,
                    tenant=group.tenant,
                )
            if counted.count < BATCH:
                break
        self.idle.note(found=total > 0)


__all__ = ["CountFailures"]
