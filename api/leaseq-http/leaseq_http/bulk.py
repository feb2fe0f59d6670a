"""Operations on many tasks, as the service answers them."""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict

from msgspec import Struct


class BulkFilter(TypedDict, total=False):
    """The tasks of an operation: a list of ids, or those that match every other field."""

    ids: list[str]
    queue: str
    type: str
    error: str  # the fingerprint of a failure; for a redrive
    running: bool  # for a cancel: ask for the end of tasks that run, too
    labels: dict[str, str]  # a task has all of them


class BulkStart(TypedDict, total=False):
    """How an operation works. Without `as_of`, the time of its preview, its set is that of now."""

    as_of: datetime
    rate: float  # tasks a second
    reason: str  # one line, which is shown with it


class BulkSample(Struct, frozen=True, kw_only=True):
    """A task that an operation would change. `at` is when it ended, for a redrive, and when it was
    submitted, for a cancel."""

    task_id: str
    queue: str
    type: str
    state: str
    at: datetime


class BulkPreview(Struct, frozen=True, kw_only=True):
    """The tasks that an operation would change. `operation_id` and `as_of` are for its start."""

    operation_id: str
    as_of: datetime
    count: int
    exact: bool  # if false, there are at least `count`
    oldest_at: datetime | None
    newest_at: datetime | None
    samples: list[BulkSample]


class UsedFilter(Struct, frozen=True, kw_only=True):
    """The filter of an operation. `ids` is the number of ids in its list."""

    ids: int | None
    queue: str | None
    type: str | None
    error: str | None
    running: bool
    labels: dict[str, str] = {}


class RefusalCount(Struct, frozen=True, kw_only=True):
    """How many tasks were left as they were, and why."""

    reason: str
    count: int


class BulkOperation(Struct, frozen=True, kw_only=True):
    """An operation on many tasks. If `total_exact` is false, `total` is the least number of tasks
    that it has to change. `looked` is the number of rows that it has looked at."""

    operation_id: str
    action: str  # cancel or redrive
    filter: UsedFilter
    tenant: str | None
    actor: str
    key_id: str | None
    reason: str | None
    as_of: datetime
    rate: float
    state: str  # running, stopped or done
    total: int
    total_exact: bool
    looked: int
    done: int
    refused: int
    refusals: list[RefusalCount]
    worked_at: datetime | None  # the last step
    began_at: datetime
    ended_at: datetime | None

    @property
    def runs(self) -> bool:
        """Whether it goes on, or would go on if an API process ran."""
        return self.state == "running"


__all__ = [
    "BulkFilter",
    "BulkOperation",
    "BulkPreview",
    "BulkSample",
    "BulkStart",
    "RefusalCount",
    "UsedFilter",
]
