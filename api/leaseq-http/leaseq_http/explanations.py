"""Explanations of tasks, as the service answers them."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from leaseq_http.model import State


class Evidence(Struct, frozen=True, kw_only=True):
    """One fact behind an explanation, and where the service has read it."""

    source: str
    text: str


class FailureOfTask(Struct, frozen=True, kw_only=True):
    """The failures that the last failure of a task belongs to (`show_failure`)."""

    type: str
    fingerprint: str
    in_day: int  # attempts that failed like this in the last 24 hours
    first_seen: datetime
    versions: list[str]  # of the application, in which it has occurred


class Why(Struct, frozen=True, kw_only=True):
    """Why a task is where it is."""

    task_id: str
    state: State | None  # None: it was pruned, and its end is not known
    case: str  # a stable name; a later service may have others
    sentence: str
    next: str  # the next event
    next_at: datetime | None
    since: datetime | None
    actions: list[str]  # what a person can do
    evidence: list[Evidence]
    failure: FailureOfTask | None  # of a task that failed, or goes on after a failure
    needs_person: bool
    at: datetime  # of the facts


__all__ = ["Evidence", "FailureOfTask", "Why"]
