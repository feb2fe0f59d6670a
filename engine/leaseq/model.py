"""The data types that the ledger, dispatch, operations and workers exchange.

All are frozen structs. Task ids are strings in the canonical lower-case form of a UUIDv7 (36
characters). Times are timezone-aware, by the clock of Postgres.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from leaseq.uniqueness import UniqueKey, UniqueRule

# The tenant of an edge that knows no other: a Python app, the HTTP API and the command line bind
# it, each in one place.
DEFAULT_TENANT = "default"
# Names of task types and queues.
NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
FINGERPRINT = re.compile(r"[A-Za-z0-9_.:-]{1,64}")  # of failures

Moment = Annotated[datetime, Meta(tz=True)]  # with its time zone


class State(StrEnum):
    """The state of a task. Only the ledger is authoritative."""

    PENDING = "PENDING"  # ready; waits for a worker
    SCHEDULED = "SCHEDULED"  # waits for something other than a worker: a time, or a permit
    PROCESSING = "PROCESSING"  # claimed; exactly one attempt is current
    SUCCESS = "SUCCESS"  # succeeded; the result is stored. Terminal.
    FAILED = "FAILED"  # gave up; the dead letters. Terminal.
    CANCELLED = "CANCELLED"  # stopped by request or expiry before it could succeed. Terminal.


class Priority(IntEnum):
    """The order of tasks within one queue; stored as the number."""

    LOW = -1
    NORMAL = 0
    HIGH = 1


class Lane(StrEnum):
    """Which ready list of its queue a delivery is placed in."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"
    # tasks with two losses or crashes; they run alone (docs/lifecycle.md)
    SUSPECT = "suspect"


class Outcome(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    ERRORED = "errored"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    RELEASED = "released"  # handed back; no retry is charged
    LOST = "lost"  # its worker died or was declared dead


class Counts(Struct, frozen=True):
    """The attempts that a task has used up, and its limits."""

    retry_count: int
    crash_count: int  # ends of isolation children that the task caused: each one is charged to it
    loss_count: int  # other ends of workers that ran the task: not charged, but suspicious
    max_attempts: int
    hand_back_count: int = 0  # attempts in a row that the task itself caused to be handed back


class Claim(Struct, frozen=True):
    """The right to end one attempt. `attempt` is the fence: an older number has no effect."""

    task_id: str
    attempt: int
    worker_id: str
    traits: int | None = None  # of the task (limits.py); None: a plain one

    def identity(self) -> dict[str, str | int]:
        """The fields by which the attempt is known."""
        return {"task_id": self.task_id, "attempt": self.attempt, "worker_id": self.worker_id}


class Credential(Struct, frozen=True):
    """Proof that a statement on a handler's connection comes from the worker and not from the
    handler."""

    worker_id: str
    secret: str

    def __repr__(self) -> str:
        """Omits the secret, because connections end up in error messages."""
        return f"Credential({self.worker_id!r})"


class TaskError(Struct, frozen=True, omit_defaults=True):
    """The reason why an attempt did not succeed, as stored and shown."""

    code: str  # stable: error, timeout, payload_invalid, result_invalid, crashed, expired, ...
    message: str
    type: str = ""  # class name of the exception
    traceback: str = ""
    # set where the codec of an app has encoded message and traceback: the version of the envelope,
    # and base64
    leaseq_codec: str = ""
    data: str = ""
    # the same for failures of the same cause, and the frame of the application in which they began
    # (safe_text/fingerprint.py)
    fingerprint: str = ""
    frame: str = ""


class Ending(Struct, frozen=True):
    """How one attempt ended, before its next step is decided."""

    outcome: Outcome
    result: bytes | None = None  # JSON, with SUCCEEDED
    error: TaskError | None = None
    permanent: bool = False  # an error that no retry can fix
    delay: float | None = None  # seconds; asked for by the handler or by the hand-back
    alone: bool = False  # with LOST: nothing else ran in the process that died
    store_away: bool = False  # reported by the handler; the worker verifies it
    # the task would cause the same on any worker: it counts, and its next attempt waits longer
    self_caused: bool = False


class Disposition(Struct, frozen=True):
    """The next step of the task. Counts are increments, the delay is in seconds."""

    state: State
    delay: float = 0.0
    retries: int = 0
    crashes: int = 0
    losses: int = 0
    hand_backs: int | None = None  # the new count of hand-backs; None: unchanged
    error: TaskError | None = None


class Settlement(Struct, frozen=True):
    """One ending to be written to the ledger: claim, ending and next step."""

    claim: Claim
    ending: Ending
    disposition: Disposition
    # of the task from now on, with the context of this attempt (trace_context.py); None: unchanged
    headers: bytes | None = None


class Settled(Struct, frozen=True):
    """The ledger's answer to a settlement that took effect."""

    task_id: str
    attempt: int
    state: State  # the new state: CANCELLED if a cancel request came first
    queue: str | None = None  # None after a success, as is the lane: its delivery goes nowhere
    lane: Lane | None = None
    type: str | None = None  # known after an ending that was no success
    limit: str | None = None  # of the task, which may have given a permit back


class TypeDefaults(Struct, frozen=True, kw_only=True):
    """Defaults for submissions of one task type. None: the configuration decides."""

    queue: str = "default"
    max_attempts: int | None = None
    timeout_seconds: float | None = None
    limit: str | None = None  # the name of the limit of its tasks
    limit_key: str | None = None  # the field of the payload that is their key
    unique: UniqueRule | None = None
    unique_key: str | None = None  # the template of their unique keys


class Submission(Struct, frozen=True, kw_only=True):
    """A client's request to create a task, validated and complete."""

    task_id: str
    type: str
    payload: bytes  # JSON, byte for byte as it was sent
    queue: str
    tenant: str
    priority: Priority = Priority.NORMAL
    delay_seconds: float | None = None
    run_at: datetime | None = None
    max_attempts: int
    timeout_seconds: float
    expires_at: datetime | None = None
    idempotency_key: str | None = None
    fingerprint: bytes = b""  # of the request as sent; compared when the key is used again
    # JSON object of strings: the stamp of the shape (known_type.py), the trace context (trace_context.py)
    headers: bytes | None = None
    labels: Mapping[str, str] | None = None  # None: it has none
    limit: str | None = None  # the name of its limit; None: a plain task
    concurrency_key: str | None = None  # of the limit
    unique: UniqueKey | None = None  # None: it stands for itself


class TaskSummary(Struct, frozen=True, kw_only=True):
    """One task as lists show it: without its payload and its result, which may be a megabyte
    each."""

    task_id: str
    tenant: str
    queue: str
    type: str
    state: State
    priority: Priority
    attempt: int
    retry_count: int
    crash_count: int
    loss_count: int
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
    error: bytes | None
    progress: bytes | None
    hand_back_count: int
    # payload, result, error, progress and attempts were removed then; None: they were not
    erased_at: datetime | None
    # its idempotency key stands for it no longer, since then
    key_freed_at: datetime | None
    labels: dict[str, str]  # by name; empty for an erased task
    limit_name: str | None
    concurrency_key: str | None
    in_line: bool | None  # it is SCHEDULED, and waits for a permit of its limit
    unique_key: str | None
    unique_hold: str | None
    has_unique_key: bool | None  # its key names no other task since


class Task(TaskSummary, frozen=True, kw_only=True):
    """One durable unit of work, as recorded in the ledger."""

    payload: bytes | None  # None: erased
    result: bytes | None


class Submitted(Struct, frozen=True):
    """The result of a submission: a new task, or the task that already has the key."""

    task_id: str
    state: State
    replayed: bool
    created_at: datetime
    run_at: datetime
    queue: str
    lane: Lane
    # of the task that already had the key, in JSON; None in the transaction of a handler
    headers: str | None = None
    deduplicated: bool = False  # by its unique key; then it is `replayed`, too


class TenantQuotas(Struct, frozen=True, kw_only=True):
    """The limits of a tenant. None: no limit. 0: nothing is accepted."""

    unfinished: int | None = None  # tasks
    unfinished_per_queue: int | None = None  # tasks
    payload_bytes_per_day: int | None = None  # a UTC day


class Tenant(TenantQuotas, frozen=True, kw_only=True):
    """A tenant that keys may be bound to, with its quotas."""

    name: str
    created_at: Moment


class ClaimedTask(Struct, frozen=True, kw_only=True):
    """The data that a worker needs to run one attempt."""

    claim: Claim
    tenant: str
    queue: str
    type: str
    payload: bytes
    counts: Counts
    timeout_seconds: float
    headers: bytes | None
    expired: bool
    waited: float = 0.0  # seconds from when it was due until this claim
    token_in: float = 0.0  # seconds until the rate of its limit has a token for it; 0: it may start


class TaskSnapshot(Struct, frozen=True):
    """The part of a task that dispatch work needs: whether a delivery is still wanted, and in which
    lane."""

    task_id: str
    queue: str
    state: State
    attempt: int
    worker_id: str | None
    lane: Lane


class AttemptRecord(Struct, frozen=True, kw_only=True):
    """One attempt that did not end in SUCCESS, as the ledger has it."""

    task_id: str
    attempt: int
    outcome: Outcome
    worker_id: str
    started_at: datetime
    finished_at: datetime
    next_state: State
    error: bytes | None
    # the number of attempts that a row of hand-backs stands for, from `attempt` on; otherwise None
    hand_backs: int | None = None

    @property
    def last(self) -> int:
        """The number of the last attempt that this row stands for."""
        return self.attempt + (self.hand_backs or 1) - 1


class WorkerRecord(Struct, frozen=True, kw_only=True):
    """One worker, as the ledger has it."""

    worker_id: str
    host: str
    pid: int
    queues: list[str]
    version: str
    started_at: Moment
    last_seen: Moment
    closed_at: Moment | None
    close_reason: str | None


class QueueRecord(Struct, frozen=True, kw_only=True):
    """One queue, as the ledger has it. The fields of a pause are None while it is not paused."""

    name: str
    paused: bool
    paused_by: str | None = None  # the name of an API key, or the command line and its user
    paused_reason: str | None = None
    paused_at: Moment | None = None
    limit: str | None = None  # that its tasks take
    fair: bool = False  # between tenants


# Limits on the attempts and the time-out of one task.
MAX_ATTEMPTS = 1000
YEAR_SECONDS = 366 * 86_400.0

TERMINAL: frozenset[State] = frozenset({State.SUCCESS, State.FAILED, State.CANCELLED})

__all__ = [
    "DEFAULT_TENANT",
    "FINGERPRINT",
    "MAX_ATTEMPTS",
    "NAME",
    "TERMINAL",
    "YEAR_SECONDS",
    "AttemptRecord",
    "Claim",
    "ClaimedTask",
    "Counts",
    "Credential",
    "Disposition",
    "Ending",
    "Lane",
    "Outcome",
    "Priority",
    "QueueRecord",
    "Settled",
    "Settlement",
    "State",
    "Submission",
    "Submitted",
    "Task",
    "TaskError",
    "TaskSnapshot",
    "TaskSummary",
    "Tenant",
    "TypeDefaults",
    "WorkerRecord",
]
