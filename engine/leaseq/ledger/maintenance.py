"""Scan all tasks, and prune old rows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct
from msgspec.json import encode

from leaseq.ledger import rows
from leaseq.ledger.rows import LANE_PRIORITIES
from leaseq.ledger.session import Session
from leaseq.lifecycle import SUSPECT_CRASHES
from leaseq.model import Claim, Counts, Lane, State, TaskSnapshot

# An expired key whose task has not ended expires again so much later.
KEY_AGAIN_SECONDS = 3600.0


class Accounted(Struct, frozen=True):
    """PENDING tasks that are not stranded, so that a scan leaves them out: those behind the
    beginnings of backlogs, and tasks that are known to be in a lane under this attempt."""

    backlogs: Mapping[tuple[str, Lane], str] = {}
    delivered: Mapping[str, int] = {}


NOTHING = Accounted()


class ScanBatch(Struct, frozen=True):
    """One step of the reconciler's scan. `last_id` is where the next one begins; None means the
    scan is at its end."""

    last_id: str | None
    waiting: list[TaskSnapshot]  # PENDING for a while: stranded, unless dispatch knows them
    # PROCESSING under a closed or unknown worker
    orphans: list[tuple[TaskSnapshot, Claim, Counts]]
    # PROCESSING under an open worker for longer than was asked for
    running: list[tuple[TaskSnapshot, Claim]]
    unscheduled: list[str]  # SCHEDULED and due, without the row by which promote would find them
    unlisted: list[str]  # FAILED, and not listed as a dead letter


class PrunedKeys(Struct, frozen=True):
    """One batch of expired keys: when the last of them expired (None: there was none), how many it
    saw and deleted."""

    last: datetime | None
    seen: int
    count: int


class Pruned(Struct, frozen=True):
    """Part of the ledger that was pruned. `last_id` is the last that was looked at (None: nothing
    was there to look at)."""

    last_id: str | None
    count: int


class Maintenance:
    """The maintenance statements."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def scan(
        self,
        *,
        cursor: str,
        limit: int,
        quiet_seconds: float,
        running_seconds: float | None = None,
        ahead_seconds: int | None = None,
        accounted: Accounted = NOTHING,
    ) -> ScanBatch:
        """Look at the next `limit` tasks after `cursor`, in order of id.

        Tasks that are `accounted` for are left out of those that wait. With `running_seconds` also
        at attempts that have run for longer than that under an open worker. With `ahead_seconds`
        not at tasks whose ids are that far ahead of the clock of Postgres.
        """
        params = {
            "cursor": cursor,
            "limit": limit,
            "quiet": quiet_seconds,
            "running": running_seconds,
            "ahead": ahead_seconds,
            "backlogs": encode(
                {
                    f"{LANE_PRIORITIES[lane]}{queue}": begin
                    for (queue, lane), begin in accounted.backlogs.items()
                }
            ).decode(),
            "delivered": encode(accounted.delivered).decode(),
            "suspect": SUSPECT_CRASHES,
        }
        found = await self._session.fetch("scan_tasks", params, idempotent=True)
        chunk = ScanBatch(found[0].last_id if found else None, [], [], [], [], [])
        for row in found:
            if row.task_id is None:
                continue
            snapshot = rows.to_snapshot(row)
            match snapshot.state, row.owned:
                case State.PENDING, _:
                    chunk.waiting.append(snapshot)
                case State.SCHEDULED, _:
                    chunk.unscheduled.append(snapshot.task_id)
                case State.FAILED, _:
                    chunk.unlisted.append(snapshot.task_id)
                case _, True:
                    chunk.running.append((snapshot, rows.to_claim(row)))
                case _:
                    chunk.orphans.append((snapshot, rows.to_claim(row), rows.to_counts(row)))
        return chunk

    async def prune_tasks(
        self,
        *,
        after: str,
        before: str,
        retention_seconds: float,
        retentions: Mapping[str, float] = {},
        limit: int,
    ) -> Pruned:
        """Delete what has finished longer ago than that, of the next `limit` tasks after one id and
        below another. `retentions`: seconds of types that have their own."""
        params = {
            "after": after,
            "before": before,
            "retention": retention_seconds,
            "retentions": encode(retentions).decode(),
            "limit": limit,
        }
        ((last_id, count),) = await self._session.fetch("prune_tasks", params)
        return Pruned(last_id, count)

    async def prune_keys(self, *, since: datetime | None, limit: int) -> PrunedKeys:
        """Delete idempotency keys that have expired since a moment (None: ever) and whose task has
        ended, in that order."""
        params = {"since": since, "limit": limit, "again": KEY_AGAIN_SECONDS}
        ((last, seen, count),) = await self._session.fetch("prune_keys", params)
        return PrunedKeys(last, seen, count)

    async def prune_uniques(self, *, limit: int) -> int:
        """Delete unique keys without a task, whose period has ended; returns how many."""
        return len(await self._session.fetch("prune_uniques", {"limit": limit}))

    async def prune_workers(self, *, retention_seconds: float) -> int:
        """Delete workers closed longer ago than that; returns how many."""
        return len(await self._session.fetch("prune_workers", {"retention": retention_seconds}))

    async def prune_services(self, *, retention_seconds: float) -> int:
        """Delete services that were last seen longer ago than that; returns how many."""
        return len(await self._session.fetch("prune_services", {"retention": retention_seconds}))

    async def prune_operations(self, *, retention_seconds: float, limit: int) -> int:
        """Delete operations begun longer ago than that, of the oldest `limit`; returns how many."""
        params = {"retention": retention_seconds, "limit": limit}
        return len(await self._session.fetch("prune_operations", params))

    async def prune_notices(self, *, retention_seconds: float, most: int, limit: int) -> int:
        """Delete notices older than that, or beyond the `most` newest, of the oldest `limit`; returns
        how many."""
        params = {"retention": retention_seconds, "most": most, "limit": limit}
        return len(await self._session.fetch("prune_notices", params))


__all__ = ["Accounted", "Maintenance", "Pruned", "PrunedKeys", "ScanBatch"]
