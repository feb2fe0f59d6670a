"""Which nouns does leaseq speak of?

Frozen structs that the ledger, dispatch, engine and worker hand to each other. Task ids are strings in
the canonical lower-case form of a UUIDv7 (36 characters). Times are timezone-aware, by the clock of Postgres.
"""

from __future__ import annotations

import re
from datetime import datetime
from enum import IntEnum, StrEnum

from msgspec import Struct

# Names of task types and queues.
NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")


class State(StrEnum):
    """What a task is. Only the ledger says so."""

    PENDING = "PENDING"  # ready; waits for a worker
    SCHEDULED = "SCHEDULED"  # not due yet: a delayed submission, or a retry waiting out its backoff
    PROCESSING = "PROCESSING"  # claimed; exactly one current attempt holds it
    SUCCESS = "SUCCESS"  # ended well; the result is stored. Terminal.
    FAILED = "FAILED"  # ended badly; the dead letters. Terminal.
    CANCELLED = "CANCELLED"  # stopped by request or expiry before it could succeed. Terminal.


class Priority(IntEnum):
    """The order between tasks of one queue; stored as the number."""

    LOW = -1
    NORMAL = 0
    HIGH = 1


class Lane(StrEnum):
    """Which ready list of its queue a delivery is placed in."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"
    SUSPECT = "suspect"  # tasks that were present at several crashes; they run alone (docs/lifecycle.md)


class Outcome(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    ERRORED = "errored"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    RELEASED = "released"  # handed back; no retry is charged
    LOST = "lost"  # its worker died or was declared dead


class Counts(Struct, frozen=True):
    """What a task has used up so far, and what it may use."""

    retry_count: int
    crash_count: int  # crashes at which the task ran alone: its own fault, each one a strike
    loss_count: int  # crashes at which others ran beside it: no blame, only suspicion
    max_attempts: int
    hand_back_count: int = 0  # attempts in a row that the task itself caused to be handed back


class Claim(Struct, frozen=True):
    """The right to end one attempt. `attempt` is the fence: an older one changes nothing."""

    task_id: str
    attempt: int
    worker_id: str


class Credential(Struct, frozen=True):
    """The proof of a worker, on a connection that handlers use, that a statement is its own and not theirs."""

    worker_id: str
    secret: str

    def __repr__(self) -> str:
        """Without the secret: connections end up in messages of errors."""
        return f"Credential({self.worker_id!r})"


class TaskError(Struct, frozen=True, omit_defaults=True):
    """Why an attempt did not succeed, as stored and shown."""

    code: str  # stable: error, timeout, payload_invalid, result_invalid, crashed, expired, ...
    message: str
    type: str = ""  # class name of the exception
    traceback: str = ""


class Ending(Struct, frozen=True):
    """How one attempt ended, before anyone has decided what follows."""

    outcome: Outcome
    result: bytes | None = None  # JSON, with SUCCEEDED
    error: TaskError | None = None
    permanent: bool = False  # an error that no retry can mend
    delay: float | None = None  # seconds; asked for by the handler or by the hand-back
    alone: bool = False  # with LOST: nothing else ran in the process that died
    store_away: bool = False  # the handler says so; the worker looks for itself before it believes that
    self_caused: bool = False  # the task would cause the same on any worker: it counts, and its next attempt waits longer


class Disposition(Struct, frozen=True):
    """What happens to the task next. Counts are what is added, delay is in seconds."""

    state: State
    delay: float = 0.0
    retries: int = 0
    crashes: int = 0
    losses: int = 0
    hand_backs: int | None = None  # the new count of hand-backs; None: as it was
    error: TaskError | None = None


class Settlement(Struct, frozen=True):
    """One ending on its way to the ledger: who ends what, how, and what follows."""

    claim: Claim
    ending: Ending
    disposition: Disposition


class Settled(Struct, frozen=True):
    """The ledger's answer to a settlement that counted."""

    task_id: str
    attempt: int
    state: State  # as it now is: CANCELLED where a cancel request came first
    queue: str
    lane: Lane


class TypeDefaults(Struct, frozen=True, kw_only=True):
    """What holds for the tasks of a type where a submission says nothing; None: the configuration decides."""

    queue: str = "default"
    max_attempts: int | None = None
    timeout_seconds: float | None = None


class Submission(Struct, frozen=True, kw_only=True):
    """A client's request to create a task, checked and complete."""

    task_id: str
    type: str
    payload: bytes  # JSON, byte for byte as it was sent
    queue: str
    tenant: str = "default"
    priority: Priority = Priority.NORMAL
    delay_seconds: float | None = None
    run_at: datetime | None = None
    max_attempts: int
    timeout_seconds: float
    expires_at: datetime | None = None
    idempotency_key: str | None = None
    fingerprint: bytes = b""  # of the request as sent; compared when a key comes again
    headers: bytes | None = None  # JSON object of strings: the stamp of the shape (known_type.py)


class TaskSummary(Struct, frozen=True, kw_only=True):
    """One task as a list shows it: without its payload and its result, which may be a megabyte each."""

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


class Task(TaskSummary, frozen=True, kw_only=True):
    """One durable unit of work, as the ledger has it."""

    payload: bytes
    result: bytes | None


class Submitted(Struct, frozen=True):
    """What became of a submission: a new task, or the one that its key already stood for."""

    task_id: str
    state: State
    replayed: bool
    created_at: datetime
    run_at: datetime
    queue: str
    lane: Lane


class ClaimedTask(Struct, frozen=True, kw_only=True):
    """What a worker needs to run one attempt."""

    claim: Claim
    tenant: str
    queue: str
    type: str
    payload: bytes
    priority: Priority
    counts: Counts
    timeout_seconds: float
    idempotency_key: str | None
    headers: bytes | None
    created_at: datetime
    run_at: datetime
    expired: bool


class Glimpse(Struct, frozen=True):
    """The little that dispatch work has to know of a task: is this delivery still wanted, and where?"""

    task_id: str
    queue: str
    state: State
    attempt: int
    worker_id: str | None
    lane: Lane


# What one task may ask for at most.
MAX_ATTEMPTS = 1000
YEAR_SECONDS = 366 * 86_400.0

TERMINAL: frozenset[State] = frozenset({State.SUCCESS, State.FAILED, State.CANCELLED})

__all__ = [
    "MAX_ATTEMPTS",
    "NAME",
    "TERMINAL",
    "YEAR_SECONDS",
    "Claim",
    "ClaimedTask",
    "Counts",
    "Credential",
    "Disposition",
    "Ending",
    "Glimpse",
    "Lane",
    "Outcome",
    "Priority",
    "Settled",
    "Settlement",
    "State",
    "Submission",
    "Submitted",
    "Task",
    "TaskError",
    "TaskSummary",
    "TypeDefaults",
]
