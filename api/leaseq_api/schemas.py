"""How do tasks look on the wire?

The body of a submission, and what comes back. JSON values that belong to clients and handlers (payload, result,
progress, error) are embedded as the bytes they are; nobody here parses and writes them anew.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from leaseq.engine.submission import Request
from leaseq.model import Outcome, State
from leaseq.records import WorkerRecord

PriorityName = Literal["high", "normal", "low"]
StateName = Literal["PENDING", "SCHEDULED", "PROCESSING", "SUCCESS", "FAILED", "CANCELLED"]
Json = Raw


class SubmitBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `POST /api/tasks` takes."""

    type: Annotated[str, Meta(description="The name that selects the handler: 1 to 128 of A-Z a-z 0-9 _ . -")]
    payload: Annotated[Json, Meta(description="JSON for the handler, kept byte for byte; at most 64 levels deep")]
    queue: Annotated[str, Meta(description="Default: the queue of the task type, else `default`")] | None = None
    priority: Annotated[PriorityName, Meta(description="Default: normal")] | None = None
    delay_seconds: Annotated[float, Meta(description="Run that much later; at most one year")] | None = None
    run_at: Annotated[datetime, Meta(description="Run at this time; instead of delay_seconds")] | None = None
    max_attempts: Annotated[int, Meta(description="Attempts in all, 1 to 1000. Default: as its handler says")] | None = None
    timeout_seconds: Annotated[float, Meta(description="Limit on one attempt. Default: as its handler says")] | None = None
    expires_at: Annotated[datetime, Meta(description="Do not start it after this time")] | None = None

    def to_request(self, *, key: str | None) -> Request:
        """The same, in the words of the engine."""
        return Request(
            type=self.type,
            payload=bytes(self.payload),
            queue=self.queue,
            priority=self.priority,
            delay_seconds=self.delay_seconds,
            run_at=self.run_at,
            max_attempts=self.max_attempts,
            timeout_seconds=self.timeout_seconds,
            expires_at=self.expires_at,
            idempotency_key=key,
        )


class ListQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `GET /api/tasks` takes after the question mark. A filter that is not given does not filter."""

    # Not None: a query has no null, and a queue may be called that.
    state: Annotated[StateName, Meta(description="Only tasks in this state")] | UnsetType = UNSET
    queue: Annotated[str, Meta(description="Only tasks of this queue")] | UnsetType = UNSET
    type: Annotated[str, Meta(description="Only tasks of this type")] | UnsetType = UNSET
    idempotency_key: Annotated[str, Meta(description="Only the task that this key stands for")] | UnsetType = UNSET
    limit: Annotated[int, Meta(ge=1, le=200, description="How many to list")] = 50
    cursor: Annotated[str, Meta(description="`next_cursor` of the page before")] | UnsetType = UNSET


class TaskSummaryView(Struct, frozen=True, kw_only=True):
    """One task in a list: without payload and result. Times are RFC 3339 in UTC, by the clock of Postgres."""

    task_id: str
    type: str
    queue: str
    state: State
    priority: PriorityName
    attempt: int
    retry_count: int
    crash_count: int
    loss_count: int
    hand_back_count: Annotated[int, Meta(description="Hand-backs in a row that the task itself caused; each waits longer")]
    max_attempts: int
    timeout_seconds: float
    idempotency_key: str | None
    created_at: datetime
    run_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    cancel_requested_at: datetime | None
    worker_id: str | None
    progress: Json | None
    error: Json | None


class TaskView(TaskSummaryView, frozen=True, kw_only=True):
    """One task. Times are RFC 3339 in UTC, by the clock of Postgres."""

    result: Json | None
    payload: Json | UnsetType = UNSET  # not repeated to whoever has just sent it


class RememberedTask(Struct, frozen=True, kw_only=True):
    """What is left to say of a task that was pruned, but whose idempotency key still stands for it."""

    task_id: str
    type: str
    queue: str
    state: State
    idempotency_key: str | None
    created_at: datetime


class TaskPage(Struct, frozen=True, kw_only=True):
    """Some tasks, newest first, without payloads and results. `next_cursor` is null on the last page, and only there: a page from
    which a filter has left few tasks, or none, has the cursor from which to look on.
    """

    tasks: list[TaskSummaryView]
    next_cursor: str | None


class AttemptView(Struct, frozen=True, kw_only=True):
    """One attempt that did not end in SUCCESS."""

    attempt: int
    hand_backs: Annotated[
        int | None, Meta(description="Set: this stands for so many attempts in a row, from `attempt` on, all handed back")
    ]
    outcome: Outcome
    worker_id: str
    started_at: datetime
    finished_at: datetime
    next_state: State
    error: Json | None


class AttemptList(Struct, frozen=True, kw_only=True):
    """The attempts of a task that did not succeed, oldest first."""

    task_id: str
    attempts: list[AttemptView]


class DepthsView(Struct, frozen=True, kw_only=True):
    """How many deliveries wait in each lane of a queue, in all, and how many are parked. Where `backlog_since` is not null a lane
    is full, and more tasks wait in the ledger; the first of them was submitted then."""

    waiting: int
    high: int
    normal: int
    low: int
    suspect: int
    parked: int
    backlog_since: datetime | None


class QueueView(Struct, frozen=True, kw_only=True):
    """One queue. `depths` is null while Redis is away."""

    name: str
    paused: bool
    depths: DepthsView | None


class QueueList(Struct, frozen=True, kw_only=True):
    """Every known queue."""

    queues: list[QueueView]


class PausedView(Struct, frozen=True, kw_only=True):
    """A queue, after it was paused or resumed."""

    name: str
    paused: bool


class WorkerList(Struct, frozen=True, kw_only=True):
    """Incarnations of workers, newest first."""

    workers: list[WorkerRecord]


__all__ = [
    "AttemptList",
    "AttemptView",
    "DepthsView",
    "Json",
    "ListQuery",
    "PausedView",
    "PriorityName",
    "QueueList",
    "QueueView",
    "RememberedTask",
    "SubmitBody",
    "TaskPage",
    "TaskSummaryView",
    "TaskView",
    "WorkerList",
]
