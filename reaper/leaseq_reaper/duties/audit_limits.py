"""Repair rows of `limited` that no statement of this version leaves behind.

A worker of an older version settles a task without a look at its limit, so its permit stays given. SQL
of an operator may do the same. A repair is counted and reported. Each pass looks at the next permits,
and at the next rows of all.
"""

from __future__ import annotations

from leaseq.ledger.limits import BEGINNING
from leaseq.metrics.tally import TALLY
from leaseq.observability.telemetry import emit
from leaseq.operations.stores import Stores

INTERVAL_SECONDS = 5.0
BATCH = 2_000


class AuditLimits:
    """The duty."""

    def __init__(self, stores: Stores) -> None:
        self._limits = stores.limits
        self._position = BEGINNING

    async def run_once(self) -> None:
        """Look at the next rows."""
        repaired, self._position = await self._limits.audit(self._position, limit=BATCH)
        for each in repaired:
            TALLY.count("leaseq_limit_repairs_total")
            emit("limit.repaired", limit=each.limit, task_id=each.task_id)


__all__ = ["INTERVAL_SECONDS", "AuditLimits"]
