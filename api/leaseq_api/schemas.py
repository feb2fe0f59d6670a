"""Tasks as HTTP and `--json` show them, and submissions over HTTP.

JSON values that belong to clients and handlers (payload, result, progress, error) are embedded byte
for byte, neither parsed nor formatted again.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from leaseq.model import MAX_ATTEMPTS, YEAR_SECONDS, Outcome, State
from leaseq.operations.submission import KEY_MAX_LENGTH, Request
from leaseq.records import WorkerRecord
from leaseq_api.refused import Refused

PostgresState = Literal["up", "away", "read only", "no standby", "wrong schema"]
RedisState = Literal["up", "away"]

Moment = Annotated[datetime, Meta(tz=True)]
Count = Annotated[int, Meta(ge=0)]


def _bound(description: str | None = None, **keywords: Any) -> Meta:
    """Keywords of JSON Schema for the document. The engine checks the same limits for all clients, with its own messages."""
    return Meta(description=description, extra_json_schema=keywords)


_NAME: dict[str, Any] = {"minLength": 1, "maxLength": 128, "pattern": "^[A-Za-z0-9_.-]+$"}
_KEY: dict[str, Any] = {"minLength": 1, "maxLength": KEY_MAX_LENGTH, "pattern": "^[ -~]+$"}
# The years that a datetime can hold in every time zone, and no leap second.
_YEARS = "19[7-9][0-9]|[2-8][0-9]{3}|9[0-8][0-9]{2}|99[0-8][0-9]|999[0-8]"
_TIME: dict[str, Any] = {
    "format": "date-time",
    "pattern": f"^(?:{_YEARS})-[0-9]{{2}}-[0-9]{{2}}[Tt][0-9]{{2}}:[0-9]{{2}}:[0-5][0-9]",
}
_SECONDS: dict[str, Any] = {"maximum": YEAR_SECONDS}

Id = Annotated[str, _bound(format="uuid")]
Name = Annotated[str, _bound(**_NAME)]
Key = Annotated[str, _bound(**_KEY)]

PriorityName = Literal["high", "normal", "low"]
StateName = Literal["PENDING", "SCHEDULED", "PROCESSING", "SUCCESS", "FAILED", "CANCELLED"]
Json = Raw


class SubmitBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /api/tasks`."""

    type: Annotated[str, _bound("The name that selects the handler", **_NAME)]
    payload: Annotated[
        Json, Meta(description="JSON for the handler, kept byte for byte; at most 64 levels deep, no character U+0000")
    ]
    queue: Annotated[str, _bound("Default: the queue of the task type, else `default`", **_NAME)] | None = None
    priority: Annotated[PriorityName, Meta(description="Default: normal")] | None = None
    delay_seconds: Annotated[float, _bound("Delay before the task is due; at most one year", minimum=0, **_SECONDS)] | None = None
    run_at: Annotated[datetime, _bound("Time at which the task is due, in place of delay_seconds", **_TIME)] | None = None
    # A float, because 3.0 is an integer to JSON Schema.
    max_attempts: (
        Annotated[
            float,
            _bound("Total number of attempts. Default: that of the handler", type="integer", minimum=1, maximum=MAX_ATTEMPTS),
        ]
        | None
    ) = None
    timeout_seconds: (
        Annotated[float, _bound("Limit on one attempt. Default: that of the handler", exclusiveMinimum=0, **_SECONDS)] | None
    ) = None
    expires_at: Annotated[datetime, _bound("Do not start it after this time", **_TIME)] | None = None

    def to_request(self, *, key: str | None) -> Request:
        """The same as a request to the engine."""
        return Request(
            type=self.type,
            payload=bytes(self.payload),
            queue=self.queue,
            priority=self.priority,
            delay_seconds=self.delay_seconds,
            run_at=self.run_at,
            max_attempts=_whole(self.max_attempts),
            timeout_seconds=self.timeout_seconds,
            expires_at=self.expires_at,
            idempotency_key=key,
        )


def _whole(attempts: float | None) -> int | None:
    if attempts is not None and not attempts.is_integer():
        raise Refused("submission_invalid", "max_attempts must be a whole number", pointer="/max_attempts")
    return None if attempts is None else int(attempts)


class ListQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The query of `GET /api/tasks`. A filter that is not given does not filter."""

    # Not None: a query has no null, and a queue may have that name.
    state: Annotated[StateName, Meta(description="Only tasks in this state")] | UnsetType = UNSET
    queue: Annotated[str, _bound("Only tasks of this queue", **_NAME)] | UnsetType = UNSET
    type: Annotated[str, _bound("Only tasks of this type", **_NAME)] | UnsetType = UNSET
    idempotency_key: Annotated[str, _bound("Only the task with this key", **_KEY)] | UnsetType = UNSET
    limit: Annotated[int, Meta(ge=1, le=200, description="Maximum number of items")] = 50
    cursor: Annotated[str, _bound("`next_cursor` of the previous page", format="uuid")] | UnsetType = UNSET


class TaskSummaryView(Struct, frozen=True, kw_only=True):
    """One task in a list: without payload and result. Times are RFC 3339 in UTC, by the clock of Postgres."""

    task_id: Id
    type: Name
    queue: Name
    state: State
    priority: PriorityName
    attempt: Count
    retry_count: Count
    crash_count: Count
    loss_count: Count
    hand_back_count: Annotated[
        int, Meta(ge=0, description="Hand-backs in a row that the task itself caused; each is delayed longer")
    ]
    max_attempts: Annotated[int, Meta(ge=1, le=MAX_ATTEMPTS)]
    timeout_seconds: Annotated[float, Meta(gt=0, le=YEAR_SECONDS)]
    idempotency_key: Key | None
    created_at: Moment
    run_at: Moment
    started_at: Moment | None
    finished_at: Moment | None
    expires_at: Moment | None
    cancel_requested_at: Moment | None
    worker_id: str | None
    progress: Json | None
    error: Json | None


class TaskView(TaskSummaryView, frozen=True, kw_only=True):
    """One task. Times are RFC 3339 in UTC, by the clock of Postgres."""

    result: Json | None
    payload: Json | UnsetType = UNSET  # omitted in the answer to a submission


class RememberedTask(Struct, frozen=True, kw_only=True):
    """The rest of a task that was pruned, but whose idempotency key still exists."""

    task_id: Id
    type: Name
    queue: Name
    state: State
    idempotency_key: Key | None
    created_at: Moment


class TaskPage(Struct, frozen=True, kw_only=True):
    """Some tasks, newest first, without payloads and results. Only the last page has a null `next_cursor`. A
    filtered page may have few tasks or none, and still a cursor from which to continue.
    """

    tasks: list[TaskSummaryView]
    next_cursor: Id | None


class AttemptView(Struct, frozen=True, kw_only=True):
    """One attempt that did not end in SUCCESS."""

    attempt: Count
    hand_backs: Annotated[
        int | None, Meta(description="If set, this stands for this many attempts in a row, from `attempt` on, all handed back")
    ]
    outcome: Outcome
    worker_id: str
    started_at: Moment
    finished_at: Moment
    next_state: State
    error: Json | None


class AttemptList(Struct, frozen=True, kw_only=True):
    """The attempts of a task that did not succeed, oldest first."""

    task_id: Id
    attempts: list[AttemptView]


class DepthsView(Struct, frozen=True, kw_only=True):
    """The number of deliveries in each lane of a queue, in total, and of parked values. If `backlog_since` is not null, a lane is
    full and more tasks wait in the ledger; the first of them was submitted then."""

    waiting: Count
    high: Count
    normal: Count
    low: Count
    suspect: Count
    parked: Count
    backlog_since: Moment | None


class QueueView(Struct, frozen=True, kw_only=True):
    """One queue. `depths` is null while Redis is away."""

    name: Name
    paused: bool
    depths: DepthsView | None


class QueueList(Struct, frozen=True, kw_only=True):
    """Every known queue."""

    queues: list[QueueView]


class PausedView(Struct, frozen=True, kw_only=True):
    """A queue, after it was paused or resumed."""

    name: Name
    paused: bool


class WorkerList(Struct, frozen=True, kw_only=True):
    """Workers, newest first."""

    workers: list[WorkerRecord]


class Live(Struct, frozen=True):
    """The process answers."""

    live: Literal[True] = True


class Ready(Struct, frozen=True, kw_only=True):
    """The service can do its work."""

    ready: Literal[True] = True
    postgres: Literal["up"] = "up"
    redis: RedisState


__all__ = [
    "AttemptList",
    "AttemptView",
    "DepthsView",
    "Json",
    "ListQuery",
    "Live",
    "PausedView",
    "PriorityName",
    "QueueList",
    "QueueView",
    "Ready",
    "RememberedTask",
    "SubmitBody",
    "TaskPage",
    "TaskSummaryView",
    "TaskView",
    "WorkerList",
]
