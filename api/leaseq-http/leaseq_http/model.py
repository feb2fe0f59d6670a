"""Tasks, attempts, queues and workers as the service answers with them.

Times are datetimes in UTC, by the clock of Postgres. Fields that end in `_seconds` are in seconds.
JSON values of clients and handlers (payload, result, progress, error) are kept byte for byte, as
`msgspec.Raw`: `bytes(task.payload)` are the bytes, and the methods decode them. Such a field is
the JSON `null` where there is no value, and `UNSET` where the answer does not have the field, as
for an erased task, and with a key without the scope `payloads`. Fields that a later version of the service adds are
ignored.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar, overload

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

T = TypeVar("T")

State = Literal["PENDING", "SCHEDULED", "PROCESSING", "SUCCESS", "FAILED", "CANCELLED"]
Json = Raw


class TaskError(Struct, frozen=True, kw_only=True):
    """The reason why an attempt did not succeed."""

    code: str  # stable: error, timeout, payload_invalid, crashed, expired, ...
    message: str
    type: str = ""  # class name of the exception
    traceback: str = ""
    fingerprint: str = ""  # the same for failures of one cause
    frame: str = ""  # of the application, as `module:function`


class TaskSummary(Struct, frozen=True, kw_only=True):
    """One task in a list, without payload and result."""

    task_id: str
    tenant: str
    type: str
    queue: str
    state: State
    priority: str
    attempt: int  # the number of the newest attempt; 0 before the first
    retry_count: int
    crash_count: int
    loss_count: int
    hand_back_count: int
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
    # If set: payload, result, error, progress and attempts were removed then.
    erased_at: datetime | None
    key_freed_at: datetime | None  # since then its idempotency key does not stand for it
    progress: Json | UnsetType = UNSET
    error: Json | UnsetType = UNSET
    labels: dict[str, str] = {}  # as they were submitted; none for an erased task
    unique: dict[str, str | bool] | UnsetType = (
        UNSET  # `key`, `hold` and `current`, if it has a key
    )
    waiting_for: dict[str, str] | None = None  # of a SCHEDULED task: `time`, `limit` and `key`, ...

    @property
    def ended(self) -> bool:
        """Whether the task is in SUCCESS, FAILED or CANCELLED."""
        return self.finished_at is not None

    @property
    def failure(self) -> TaskError | None:
        """The decoded `error`; None where there is none, or where it is not shown."""
        return _failure(self.error)


class Task(TaskSummary, frozen=True, kw_only=True):
    """One task."""

    result: Json | UnsetType = UNSET
    payload: Json | UnsetType = UNSET
    deduplicated: bool | UnsetType = UNSET  # in the answer to a submission

    @overload
    def decode_payload(self) -> Any: ...
    @overload
    def decode_payload(self, type: type[T]) -> T: ...
    def decode_payload(self, type: Any = Any) -> Any:  # noqa: A002
        """The payload as `type`. Raises `msgspec.ValidationError`, and `ValueError` where the answer
        had none."""
        return _decode(self.payload, type, "payload")

    @overload
    def decode_result(self) -> Any: ...
    @overload
    def decode_result(self, type: type[T]) -> T: ...
    def decode_result(self, type: Any = Any) -> Any:  # noqa: A002
        """The return value of the handler as `type`; None before SUCCESS. Raises
        `msgspec.ValidationError`, and `ValueError` where the answer had none."""
        return _decode(self.result, type, "result")


class Submitted(Struct, frozen=True, kw_only=True):
    """An accepted submission. The task is committed in Postgres."""

    task_id: str
    type: str
    queue: str
    state: State
    idempotency_key: str
    created_at: datetime
    # The service has seen the key before: this is the task of the first submission, in its present
    # state.
    replayed: bool = False
    # Another submission has made the task, which has the unique key.
    deduplicated: bool = False


class TaskState(Struct, frozen=True, kw_only=True):
    """The part of a task that changes after its submission, as its stream of events shows it."""

    task_id: str
    tenant: str
    queue: str
    type: str
    state: State
    attempt: int
    retry_count: int
    created_at: datetime
    run_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None
    erased_at: datetime | None
    worker_id: str | None
    error: Json | UnsetType = UNSET
    result: Json | UnsetType = UNSET

    @property
    def ended(self) -> bool:
        """Whether the task is in SUCCESS, FAILED or CANCELLED."""
        return self.finished_at is not None

    @property
    def failure(self) -> TaskError | None:
        """The decoded `error`; None where there is none, or where it is not shown."""
        return _failure(self.error)


class Progress(Struct, frozen=True, kw_only=True):
    """The newest value that an attempt has given to `ctx.set_progress`."""

    attempt: int
    progress: Json


class TaskPage(Struct, frozen=True, kw_only=True):
    """Some tasks, newest first. Only the last page has no `next_cursor`. A filtered page may have few
    tasks or none, and still a cursor from which to continue."""

    tasks: list[TaskSummary]
    next_cursor: str | None


class Attempt(Struct, frozen=True, kw_only=True):
    """One attempt that did not end in SUCCESS."""

    attempt: int
    hand_backs: (
        int | None
    )  # if set: that many attempts in a row, from `attempt` on, all handed back
    outcome: str  # errored, timed_out, cancelled, released, lost
    worker_id: str
    started_at: datetime
    finished_at: datetime
    next_state: State
    error: Json | UnsetType = UNSET

    @property
    def failure(self) -> TaskError | None:
        """The decoded `error`; None where there is none, or where it is not shown."""
        return _failure(self.error)


class ListedTask(Struct, frozen=True, kw_only=True):
    """A task that has changed, as the stream of all tasks shows it."""

    task_id: str
    tenant: str
    queue: str
    type: str
    state: State
    attempt: int
    created_at: datetime
    run_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None


class Missed(Struct, frozen=True, kw_only=True):
    """Changes that the stream of all tasks left out, because the client was slow or too many came
    together."""

    count: int


class Event(Struct, Generic[T], frozen=True, kw_only=True):
    """An event of a stream. `id` continues the stream behind it."""

    id: str | None
    data: T


# The present state of a task, the end of an attempt that did not succeed, or a progress.
TaskEvent = Event[TaskState | Attempt | Progress]
AnyTaskEvent = Event[ListedTask | Missed]


class AttemptList(Struct, frozen=True, kw_only=True):
    """The attempts of a task that did not succeed, oldest first."""

    task_id: str
    attempts: list[Attempt]
    erased_at: datetime | None  # if set: the attempts before were removed then


class Depths(Struct, frozen=True, kw_only=True):
    """The number of deliveries in each lane of a queue. If `backlog_since` is not None, a lane is
    full and more tasks wait in the ledger."""

    waiting: int
    high: int
    normal: int
    low: int
    suspect: int
    parked: int
    backlog_since: datetime | None
    oldest_at: datetime | None = None


class Queue(Struct, frozen=True, kw_only=True):
    """One queue. `depths` is None while Redis is away, and with a key that is bound to a tenant."""

    name: str
    paused: bool
    paused_by: str | None = None
    paused_reason: str | None = None
    paused_at: datetime | None = None
    depths: Depths | None
    limit: str | None = None  # that its tasks take
    fair: bool = False  # between tenants


class QueueList(Struct, frozen=True, kw_only=True):
    """One page of queues."""

    queues: list[Queue]
    next_cursor: str | None


class PausedQueue(Struct, frozen=True, kw_only=True):
    """A queue, after it was paused or resumed."""

    name: str
    paused: bool
    paused_by: str | None = None
    paused_reason: str | None = None
    paused_at: datetime | None = None


class Operation(Struct, frozen=True, kw_only=True):
    """One change that was made through the API or the command line."""

    operation_id: str
    kind: str  # single: one change of one thing
    action: str
    target: str  # the task, the queue, the key or the tenant
    tenant: str | None  # that the actor was bound to
    key_id: str | None
    actor: str  # the name of the key, or the command line and its user
    outcome: str  # unconfirmed: it is not known whether the change was made
    code: str | None  # why it was refused
    detail: Json
    began_at: datetime
    ended_at: datetime | None


class OperationPage(Struct, frozen=True, kw_only=True):
    """Some changes, newest first. Only the last page has no `next_cursor`."""

    operations: list[Operation]
    next_cursor: str | None


class Worker(Struct, frozen=True, kw_only=True):
    """One worker."""

    worker_id: str
    host: str
    pid: int
    queues: list[str]
    version: str
    started_at: datetime
    last_seen: datetime
    closed_at: datetime | None
    close_reason: str | None
    # None while Redis is away, of a closed worker; the last two also with a key of a tenant.
    lease_left_seconds: float | None = None
    held_count: int | None = None
    held_task_ids: list[str] | None = None


class TaskType(Struct, frozen=True, kw_only=True):
    """One task type, as workers have registered it."""

    type: str
    queue: str
    payload_schema: Json  # a JSON Schema
    max_attempts: int | None
    timeout_seconds: float | None
    updated_at: datetime


class TypeList(Struct, frozen=True, kw_only=True):
    """Task types by name. Only the last page has no `next_cursor`."""

    types: list[TaskType]
    next_cursor: str | None


class WorkerList(Struct, frozen=True, kw_only=True):
    """Workers, newest first."""

    workers: list[Worker]


def _failure(error: Json | UnsetType) -> TaskError | None:
    if isinstance(error, UnsetType):
        return None
    return msgspec.json.decode(error, type=TaskError | None)


def _decode(value: Json | UnsetType, kind: Any, name: str) -> Any:
    if isinstance(value, UnsetType):
        raise ValueError(
            f"the answer has no {name}: a submission is answered without, an erased task has none, "
            "and a key needs the scope `payloads`"
        )
    return msgspec.json.decode(value, type=kind)


__all__ = [
    "AnyTaskEvent",
    "Attempt",
    "AttemptList",
    "Depths",
    "Event",
    "Json",
    "ListedTask",
    "Missed",
    "Operation",
    "OperationPage",
    "PausedQueue",
    "Progress",
    "Queue",
    "QueueList",
    "State",
    "Submitted",
    "Task",
    "TaskError",
    "TaskEvent",
    "TaskPage",
    "TaskState",
    "TaskSummary",
    "TaskType",
    "TypeList",
    "Worker",
    "WorkerList",
]
