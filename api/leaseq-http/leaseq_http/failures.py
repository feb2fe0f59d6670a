"""Failures grouped by type and fingerprint, as the service answers them."""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict

from msgspec import UNSET, Raw, Struct, UnsetType


class FailureFilters(TypedDict, total=False):
    """The filters of a list of failures. Those that are left out do not filter."""

    type: str
    queue: str
    state: str  # new, known or acknowledged
    window: float  # seconds, within which they have occurred


class SeenVersion(Struct, frozen=True, kw_only=True):
    """A version of the application, and when a failure occurred in it first."""

    version: str
    first_seen: datetime


class Failure(Struct, frozen=True, kw_only=True):
    """The failures of one type that have one cause. `message` is that of the newest attempt. It is
    `UNSET` with a key without the scope `payloads`, and None once the attempt was erased or
    pruned."""

    type: str
    fingerprint: str
    state: str  # new, known or acknowledged
    code: str
    exception: str
    frame: str  # `module:function` of the application
    message: str | UnsetType | None = UNSET
    # attempts that failed in the last hour, in 24 hours, and in 7 days
    in_hour: int
    in_day: int
    in_week: int
    hours: list[int]  # in each of the last 24 hours by the clock, this one last
    dead: int  # tasks that are FAILED with it now; 1000 in a list: or more
    first_seen: datetime
    last_seen: datetime
    queues: list[str]
    versions: list[SeenVersion]  # the oldest first
    hosts: list[str]
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    returned_at: datetime | None  # it was acknowledged, and occurred in a new version then
    task_id: str  # of the newest attempt
    attempt: int


class FailurePage(Struct, frozen=True, kw_only=True):
    """One page of failures."""

    failures: list[Failure]
    next_cursor: str | None


class FailedAttempt(Struct, frozen=True, kw_only=True):
    """A recent attempt that failed. `state` is that of its task now."""

    task_id: str
    attempt: int
    tenant: str
    queue: str
    state: str
    outcome: str
    worker_id: str
    host: str | None
    version: str | None  # of the application
    finished_at: datetime


class ErrorVariant(Struct, frozen=True, kw_only=True):
    """Messages of recent attempts that differ only in numbers, ids and the like, and the error of
    the newest one, in JSON."""

    count: int
    task_id: str
    attempt: int
    error: Raw


class FailureDetail(Struct, frozen=True, kw_only=True):
    """A failure with its recent attempts. `messages` is `UNSET` with a key without the scope
    `payloads`."""

    failure: Failure
    recent: list[FailedAttempt]
    messages: list[ErrorVariant] | UnsetType = UNSET


__all__ = [
    "ErrorVariant",
    "FailedAttempt",
    "Failure",
    "FailureDetail",
    "FailureFilters",
    "FailurePage",
    "SeenVersion",
]
