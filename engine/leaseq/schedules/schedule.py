"""A schedule: its definition, its standing, and its last runs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from msgspec import Struct

from leaseq.model import Moment, Priority, State, Submission
from leaseq.schedules.plan import CatchUp, Overlap, Policy, jitter_seconds
from leaseq.schedules.timing import Timing, next_ones

# Before the name of a schedule and an occurrence: the idempotency key of its task. No submission may
# have such a key, or the occurrence would become no task.
KEY_PREFIX = "leaseq.schedule:"
# Runs that a schedule remembers.
KEPT_RUNS = 20


class Definition(Struct, frozen=True, kw_only=True):
    """The task of a schedule, its times and its policy. `submission` is complete, as that of one task; its
    id and its key are not used."""

    name: str
    timing: Timing
    submission: Submission
    policy: Policy = Policy()
    jitter_seconds: int = 0
    source: str = "api"  # or `code:` and the app that declares it

    def delay(self, tenant: str) -> timedelta:
        """How much later than its occurrences the schedule is fired."""
        return timedelta(seconds=jitter_seconds(tenant, self.name, self.jitter_seconds))


class Schedule(Struct, frozen=True, kw_only=True):
    """A schedule as recorded in the ledger. `payload` is JSON, and empty in lists.

    `next_at` is the next occurrence, None if there is none any more. `fired`, `missed` and `skipped`
    count occurrences. `run_ats` are the last ones, newest first, each with its task in `run_tasks`;
    None: it was skipped, because the task before it had not ended.
    """

    tenant: str
    name: str
    cron: str | None
    tz: str
    every_seconds: float | None
    anchor_at: Moment | None
    start_at: Moment | None
    end_at: Moment | None
    type: str
    queue: str
    payload: bytes
    headers: bytes | None
    labels: dict[str, str]
    priority: Priority
    max_attempts: int
    timeout_seconds: float
    limit_name: str | None
    concurrency_key: str | None
    catch_up: CatchUp
    max_catch_up: int
    overlap: Overlap
    jitter_seconds: int
    source: str
    revision: str
    created_at: Moment
    changed_at: Moment
    paused_at: Moment | None
    paused_by: str | None
    next_at: Moment | None
    due_at: Moment | None
    last_at: Moment | None
    last_task_id: str | None
    fired: int
    missed: int
    skipped: int
    run_ats: list[datetime]
    run_tasks: list[str | None]
    now: Moment  # when it was read, by the clock of Postgres

    @property
    def timing(self) -> Timing:
        return timing_of(self)

    @property
    def delay(self) -> timedelta:
        """How much later than its occurrences it is fired."""
        return timedelta(seconds=jitter_seconds(self.tenant, self.name, self.jitter_seconds))

    @property
    def policy(self) -> Policy:
        return Policy(catch_up=self.catch_up, max_catch_up=self.max_catch_up, overlap=self.overlap)

    def preview(self, count: int) -> list[datetime]:
        """The next times, without jitter; of a paused one those that it would have."""
        if self.next_at is None:
            return []
        first = self.next_at
        if self.paused_at is not None and first <= self.now:
            return next_ones(self.timing, self.now, count)
        return [first, *next_ones(self.timing, first, count - 1)]


class ScheduleRun(Struct, frozen=True, kw_only=True):
    """One of the last occurrences: its time, its task and the state of that now. Both are None where
    the occurrence was skipped, and the state also where the task was deleted."""

    at: Moment
    task_id: str | None
    state: State | None


class DueSchedule(Struct, frozen=True, kw_only=True):
    """The part of a schedule that decides when and how it fires."""

    tenant: str
    name: str
    cron: str | None
    zone: str
    every_seconds: float | None
    anchor_at: datetime | None
    start_at: datetime | None
    end_at: datetime | None
    catch_up: CatchUp
    max_catch_up: int
    overlap: Overlap
    jitter_seconds: int
    revision: str
    next_at: datetime
    due_at: datetime
    now: datetime
    missing_limit: str | None = None  # of its tasks, where it does not exist


def timing_of(row: Schedule | DueSchedule) -> Timing:
    """When a schedule of the ledger occurs."""
    return Timing(
        cron=row.cron,
        zone=row.tz if isinstance(row, Schedule) else row.zone,
        every_seconds=row.every_seconds,
        anchor_at=row.anchor_at,
        start_at=row.start_at,
        end_at=row.end_at,
    )


def same_labels(first: Mapping[str, str] | None, second: Mapping[str, str] | None) -> bool:
    """Whether two schedules give the same labels."""
    return dict(first or {}) == dict(second or {})


__all__ = [
    "KEPT_RUNS",
    "KEY_PREFIX",
    "Definition",
    "DueSchedule",
    "Schedule",
    "ScheduleRun",
    "same_labels",
    "timing_of",
]
