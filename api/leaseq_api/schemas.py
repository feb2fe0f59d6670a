"""Tasks as HTTP and `--json` show them, and submissions over HTTP.

JSON values that belong to clients and handlers (payload, result, progress, error) are embedded byte
for byte, neither parsed nor formatted again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from leaseq.labels import LABEL_PATTERN, MAX_ASKED
from leaseq.ledger.operation_log import ActionName
from leaseq.model import FINGERPRINT, MAX_ATTEMPTS, YEAR_SECONDS, Outcome, State
from leaseq.operations.submission import KEY_MAX_LENGTH, Request
from leaseq.operations.why.answer import Evidence, Why
from leaseq.options import NAME_KEYWORDS, PriorityName, SubmitOptions, described
from leaseq.uniqueness import HoldName

PostgresState = Literal["up", "away", "read only", "no standby", "wrong schema"]
RedisState = Literal["up", "away"]

Moment = Annotated[datetime, Meta(tz=True)]
Count = Annotated[int, Meta(ge=0)]


_KEY: dict[str, Any] = {"minLength": 1, "maxLength": KEY_MAX_LENGTH, "pattern": "^[ -~]+$"}
# The id of a task, or the name of a queue, a key or a tenant.
_TARGET: dict[str, Any] = {"minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}

Id = Annotated[str, described(format="uuid")]
Name = Annotated[str, described(**NAME_KEYWORDS)]
Key = Annotated[str, described(**_KEY)]

OutcomeName = Literal["unconfirmed", "done", "refused"]
StateName = Literal["PENDING", "SCHEDULED", "PROCESSING", "SUCCESS", "FAILED", "CANCELLED"]
Json = Raw


class SubmitBody(SubmitOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /api/tasks`."""

    type: Annotated[str, described("The name that selects the handler", **NAME_KEYWORDS)]
    payload: Annotated[
        Json,
        Meta(
            description="JSON for the handler, kept byte for byte; at most 64 levels deep, no character U+0000"
        ),
    ]

    def to_request(
        self, *, key: str | None, trace_context: Mapping[str, str] | None = None
    ) -> Request:
        """The same as a request to the engine. The body is its own options."""
        return Request(
            type=self.type,
            payload=bytes(self.payload),
            options=self,
            idempotency_key=key,
            trace_context=trace_context,
        )


class ListQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The query of `GET /api/tasks`. A filter that is not given does not filter."""

    # Not None: a query has no null, and a queue may have that name.
    state: Annotated[StateName, Meta(description="Only tasks in this state")] | UnsetType = UNSET
    queue: Annotated[str, described("Only tasks of this queue", **NAME_KEYWORDS)] | UnsetType = (
        UNSET
    )
    type: Annotated[str, described("Only tasks of this type", **NAME_KEYWORDS)] | UnsetType = UNSET
    idempotency_key: (
        Annotated[str, described("Only the task with this key", **_KEY)] | UnsetType
    ) = UNSET
    label: (
        Annotated[
            list[Annotated[str, described(pattern=LABEL_PATTERN)]],
            described(
                "Only tasks with this label, `name=value`. Given more than once: with all of them",
                minItems=1,
                maxItems=MAX_ASKED,
            ),
        ]
        | UnsetType
    ) = UNSET
    error: (
        Annotated[
            str,
            described(
                "Only FAILED tasks whose last failure has this fingerprint",
                minLength=1,
                maxLength=64,
                pattern=f"^{FINGERPRINT.pattern}$",
            ),
        ]
        | UnsetType
    ) = UNSET
    limit: Annotated[int, Meta(ge=1, le=200, description="Maximum number of items")] = 50
    cursor: (
        Annotated[str, described("`next_cursor` of the previous page", format="uuid")] | UnsetType
    ) = UNSET


class WaitingFor(Struct, frozen=True, omit_defaults=True):
    """The reason why a task is SCHEDULED: a time, a permit of its limit, or the turn of its tenant in a
    fair queue."""

    time: Annotated[Moment | UnsetType, Meta(description="It is due then")] = UNSET
    limit: Annotated[Name | UnsetType, Meta(description="The limit that it needs a permit of")] = (
        UNSET
    )
    key: Annotated[str | UnsetType, Meta(description="The key of the limit, if it has one")] = UNSET
    queue: Annotated[
        Name | UnsetType, Meta(description="The fair queue where its tenant waits for its turn")
    ] = UNSET


class UniqueView(Struct, frozen=True):
    """The unique key of a task, and whether the key names this task still."""

    key: str
    hold: HoldName
    current: bool


class TaskSummaryView(Struct, frozen=True, kw_only=True):
    """One task in a list: without payload and result. `progress` and `error` are omitted for keys
    without the scope `payloads`. Times are RFC 3339 in UTC, by the clock of
    Postgres."""

    task_id: Id
    tenant: str
    type: Name
    queue: Name
    state: State
    priority: PriorityName
    attempt: Count
    retry_count: Count
    crash_count: Count
    loss_count: Count
    hand_back_count: Annotated[
        int,
        Meta(
            ge=0,
            description="Hand-backs in a row that the task itself caused; each is delayed longer",
        ),
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
    erased_at: Annotated[
        Moment | None,
        Meta(description="If set, payload, result, error, progress and attempts were removed then"),
    ]
    key_freed_at: Annotated[
        Moment | None,
        Meta(
            description="If set, the idempotency key does not stand for this task since then, and may stand for another one"
        ),
    ]
    labels: Annotated[
        dict[str, str], Meta(description="As they were submitted; none for an erased task")
    ]
    waiting_for: Annotated[
        WaitingFor | None, Meta(description="Of a SCHEDULED task; null in every other state")
    ]
    unique: Annotated[
        UniqueView | UnsetType, Meta(description="Only of a task with a unique key")
    ] = UNSET
    # omitted for an erased task
    progress: Json | UnsetType | None = UNSET
    error: Json | UnsetType | None = UNSET


class TaskView(TaskSummaryView, frozen=True, kw_only=True):
    """One task. `payload`, `result`, `progress` and `error` are omitted for keys without the scope
    `payloads`. Times are RFC 3339 in UTC, by the clock of Postgres."""

    # omitted for an erased task, and the payload in the answer to a submission, too
    result: Json | UnsetType | None = UNSET
    payload: Json | UnsetType = UNSET
    # in the answer to a submission
    deduplicated: Annotated[
        bool | UnsetType,
        Meta(description="The task was there already, and has the unique key of the submission"),
    ] = UNSET


class FreshTaskView(TaskView, frozen=True, kw_only=True):
    """A task that was created a moment ago, and has done nothing yet."""

    attempt: Count = 0
    retry_count: Count = 0
    crash_count: Count = 0
    loss_count: Count = 0
    hand_back_count: Count = 0
    started_at: Moment | None = None
    finished_at: Moment | None = None
    cancel_requested_at: Moment | None = None
    worker_id: str | None = None
    erased_at: Moment | None = None
    key_freed_at: Moment | None = None
    labels: dict[str, str] = {}
    waiting_for: WaitingFor | None = None
    progress: Json | UnsetType | None = None
    error: Json | UnsetType | None = None
    result: Json | UnsetType | None = None


class RememberedTask(Struct, frozen=True, kw_only=True):
    """The rest of a task that was pruned, but whose idempotency key still exists."""

    task_id: Id
    type: Name
    queue: Name
    state: State
    idempotency_key: Key | None
    created_at: Moment
    deduplicated: bool | UnsetType = UNSET


class TaskPage(Struct, frozen=True, kw_only=True):
    """Some tasks, newest first, without payloads and results. Only the last page has a null
    `next_cursor`. A filtered page may have few tasks or none, and still a cursor from which to
    continue.
    """

    tasks: list[TaskSummaryView]
    next_cursor: Id | None


class AttemptView(Struct, frozen=True, kw_only=True):
    """One attempt that did not end in SUCCESS."""

    attempt: Count
    hand_backs: Annotated[
        int | None,
        Meta(
            description="If set, this stands for this many attempts in a row, from `attempt` on, all handed back"
        ),
    ]
    outcome: Outcome
    worker_id: str
    started_at: Moment
    finished_at: Moment
    next_state: State
    error: Json | UnsetType | None = UNSET


class AttemptList(Struct, frozen=True, kw_only=True):
    """The attempts of a task that did not succeed, oldest first."""

    task_id: Id
    erased_at: Annotated[
        Moment | None, Meta(description="If set, the attempts before were removed then")
    ]
    attempts: list[AttemptView]


class OperationQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The query of `GET /api/operations`. A filter that is not given does not filter."""

    action: Annotated[ActionName, Meta(description="Only this kind of change")] | UnsetType = UNSET
    target: (
        Annotated[
            str,
            described("Only changes of this task, queue, key or tenant", **_TARGET),
        ]
        | UnsetType
    ) = UNSET
    key_id: (
        Annotated[str, described("Only changes by the API key with this id", **_TARGET)] | UnsetType
    ) = UNSET
    limit: Annotated[int, Meta(ge=1, le=200, description="Maximum number of items")] = 50
    cursor: (
        Annotated[str, described("`next_cursor` of the previous page", format="uuid")] | UnsetType
    ) = UNSET


class OperationView(Struct, frozen=True, kw_only=True):
    """One change. `tenant` is the one that the actor was bound to. `unconfirmed`: whether it was
    made is not known, because a process died or the answer of Postgres was lost."""

    operation_id: Id
    kind: Annotated[str, Meta(description="`single`: one change of one thing")]
    action: str
    target: Annotated[str, Meta(description="The task, the queue, the key or the tenant")]
    tenant: str | None
    key_id: Annotated[str | None, Meta(description="The API key, if there was one")]
    actor: Annotated[
        str, Meta(description="The name of the key, `open API`, or `command line` and its user")
    ]
    outcome: OutcomeName
    code: Annotated[str | None, Meta(description="Why it was refused")]
    detail: Json | None
    began_at: Moment
    ended_at: Moment | None


class OperationPage(Struct, frozen=True, kw_only=True):
    """Some changes, newest first. Only the last page has a null `next_cursor`. A filtered page may
    have few or none, and still a cursor from which to continue."""

    operations: list[OperationView]
    next_cursor: Id | None


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
    "Evidence",
    "FreshTaskView",
    "Json",
    "ListQuery",
    "Live",
    "OperationPage",
    "OperationQuery",
    "OperationView",
    "PriorityName",
    "Ready",
    "RememberedTask",
    "SubmitBody",
    "TaskPage",
    "TaskSummaryView",
    "TaskView",
    "Why",
]
