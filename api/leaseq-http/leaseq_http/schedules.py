"""Schedules, as the service answers them, and the fields that define one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypedDict

from msgspec import UNSET, Raw, Struct, UnsetType


class ScheduleFields(TypedDict, total=False):
    """The definition of a schedule: `cron` or `every_seconds`, and the options of its tasks. One that
    is left out has the default of the service."""

    payload: Any
    cron: str
    tz: str  # the zone of `cron`, as Europe/Zurich
    every_seconds: float
    start_at: datetime
    end_at: datetime
    catch_up: str  # once, skip or all
    max_catch_up: int
    overlap: str  # allow, skip or wait
    jitter_seconds: int
    queue: str
    priority: str
    max_attempts: int
    timeout_seconds: float
    labels: Mapping[str, str]
    concurrency_key: str


class ScheduleRun(Struct, frozen=True, kw_only=True):
    """One of the last occurrences. Without a task it was skipped; without a state the task was
    pruned."""

    at: datetime
    task_id: str | None
    state: str | None


class Schedule(Struct, frozen=True, kw_only=True):
    """A schedule. `payload`, `next_times` and `runs` are `UNSET` in lists, and `payload` also with a
    key without the scope `payloads`."""

    tenant: str
    name: str
    description: str  # its times in English
    cron: str | None
    tz: str
    every_seconds: float | None
    start_at: datetime | None
    end_at: datetime | None
    type: str
    queue: str
    priority: str
    max_attempts: int
    timeout_seconds: float
    labels: dict[str, str]
    limit: str | None
    concurrency_key: str | None
    catch_up: str
    max_catch_up: int
    overlap: str
    jitter_seconds: int
    source: str  # `api`, or `code:` and the module that declares it
    created_at: datetime
    changed_at: datetime
    paused_at: datetime | None
    paused_by: str | None
    next_at: datetime | None  # None: it occurs no more
    last_at: datetime | None
    last_task_id: str | None
    fired: int
    missed: int
    skipped: int
    payload: Raw | UnsetType = UNSET
    next_times: list[datetime] | UnsetType = UNSET
    runs: list[ScheduleRun] | UnsetType = UNSET  # newest first


class SchedulePage(Struct, frozen=True, kw_only=True):
    """One page of schedules."""

    schedules: list[Schedule]
    next_cursor: str | None


class StartedRun(Struct, frozen=True, kw_only=True):
    """The task of a run by hand. `created` is false where the same `operation_id` came before."""

    task_id: str
    created: bool


__all__ = ["Schedule", "ScheduleFields", "SchedulePage", "ScheduleRun", "StartedRun"]
