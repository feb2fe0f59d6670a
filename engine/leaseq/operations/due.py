"""The tasks that are due within the next hour, and those that are overdue."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from leaseq.ledger.coming_tasks import OVERDUE, Coming, ComingRow, ComingTaskLedger
from leaseq.model import Moment

MINUTES = 60
MOST_LISTED = 50

Reason = Literal["delayed", "retry", "handed_back"]


class DueMinute(Struct, frozen=True, kw_only=True):
    """One minute. `count` is null where not all of its tasks were looked at."""

    at: Moment
    count: Annotated[int, Meta(ge=0)] | None


class DueTask(Struct, frozen=True, kw_only=True):
    """One SCHEDULED task. `reason`: it was submitted for later, waits for its retry, or was handed
    back. A key without the scope `payloads` gets no `error`."""

    task_id: str
    tenant: str
    queue: str
    type: str
    run_at: Moment
    created_at: Moment
    overdue: bool
    reason: Reason
    attempt: int
    max_attempts: int
    error: Raw | UnsetType | None = UNSET


class Due(Struct, frozen=True, kw_only=True):
    """The SCHEDULED tasks of the next hour. The numbers are null for keys that are bound to a tenant,
    because they are those of all tenants. `counted_until` is not null where there are too many tasks
    to look at; `overdue` is then the least number that is possible."""

    at: Moment
    overdue: Annotated[int, Meta(ge=0)] | None
    overdue_since: Moment | None
    counted_until: Moment | None
    minutes: list[DueMinute] | None
    tasks: Annotated[list[DueTask], Meta(description=f"The first {MOST_LISTED}, as they are due")]


async def read_due(ledger: ComingTaskLedger, *, tenant: str | None, contents: bool) -> Due:
    """The tasks of the next hour, as a request of this tenant (None: of any) may see them.
    `contents`: with the errors of their last attempts."""
    found = await ledger.read(horizon_seconds=MINUTES * 60.0, tenant=tenant, limit=MOST_LISTED)
    whole = tenant is None
    until = found.now if found.partial and found.until is None else found.until
    return Due(
        at=found.now,
        overdue=found.counts.get(OVERDUE, 0) if whole else None,
        overdue_since=found.overdue_since if whole else None,
        counted_until=until if whole else None,
        minutes=_minutes(found, until) if whole else None,
        tasks=[_due(row, found.now, contents=contents) for row in found.tasks],
    )


def _minutes(found: Coming, until: Moment | None) -> list[DueMinute]:
    step = timedelta(minutes=1)
    begins = [found.now + n * step for n in range(MINUTES)]
    return [
        DueMinute(
            at=begin,
            count=found.counts.get(n, 0) if until is None or begin + step <= until else None,
        )
        for n, begin in enumerate(begins)
    ]


def _due(row: ComingRow, now: Moment, *, contents: bool) -> DueTask:
    reason: Reason = "delayed" if row.attempt == 0 else "retry"
    error = None if row.error is None else Raw(row.error)
    return DueTask(
        task_id=row.task_id,
        tenant=row.tenant,
        queue=row.queue,
        type=row.type,
        run_at=row.run_at,
        created_at=row.created_at,
        overdue=row.run_at <= now,
        reason="handed_back" if row.hand_back_count else reason,
        attempt=row.attempt,
        max_attempts=row.max_attempts,
        error=error if contents else UNSET,
    )


__all__ = ["Due", "DueMinute", "DueTask", "read_due"]
