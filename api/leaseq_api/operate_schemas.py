"""Queues, workers and task types, as HTTP and `--json` show them."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from leaseq.dispatch.worker_holdings import MOST_SHOWN
from leaseq.ledger.services import Role
from leaseq.model import MAX_ATTEMPTS, WorkerRecord
from leaseq.operations.due import Due, DueMinute, DueTask
from leaseq.operations.operator import REASON_LENGTH
from leaseq.operations.overview.answer import Fleet, LaneCounts, Need, Overview, QueueStanding
from leaseq.operations.running import Running, RunningTask
from leaseq.operations.statistics.read import (
    Durations,
    EndedAttempts,
    Figures,
    Statistics,
    StatisticsStep,
    TypeFigures,
)
from leaseq.options import described
from leaseq.server_checks.findings import Finding
from leaseq_api.schemas import Count, Id, Json, Moment, Name


class DepthsView(Struct, frozen=True, kw_only=True):
    """The number of deliveries in each lane of a queue, in total, and of parked values. If
    `backlog_since` is not null, a lane is full and more tasks wait in the ledger; the first of them
    was submitted then. `oldest_at` is when the oldest of the tasks was submitted that are next in a
    lane; a task that was put back waits behind younger ones and does not count."""

    waiting: Count
    high: Count
    normal: Count
    low: Count
    suspect: Count
    parked: Count
    backlog_since: Moment | None
    oldest_at: Moment | None


class QueueView(Struct, frozen=True, kw_only=True):
    """One queue. `depths` is null while Redis is away, and for requests that are bound to a tenant,
    because a lane holds the tasks of all tenants. `paused_by` is null for them, too."""

    name: Name
    paused: bool
    paused_by: Annotated[
        str | None,
        Meta(description="The name of an API key, or the command line and its user, if known"),
    ]
    paused_reason: str | None
    paused_at: Moment | None
    depths: DepthsView | None
    limit: Annotated[Name | None, Meta(description="The limit that its tasks take")]
    fair: Annotated[bool, Meta(description="Whether its tenants have turns")]


class QueueList(Struct, frozen=True, kw_only=True):
    """Queues by name. If there are more, `next_cursor` is not null."""

    queues: list[QueueView]
    next_cursor: Name | None


class PausedView(Struct, frozen=True, kw_only=True):
    """A queue, after it was paused or resumed."""

    name: Name
    paused: bool
    paused_by: str | None
    paused_reason: str | None
    paused_at: Moment | None


class PauseBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a pause, which may be left out."""

    reason: (
        Annotated[
            str,
            described(
                "Shown while the queue is paused; one line",
                minLength=1,
                maxLength=REASON_LENGTH,
            ),
        ]
        | None
    ) = None


class WorkerView(WorkerRecord, frozen=True, kw_only=True):
    """One worker. The last three are null while Redis is away, and of a closed worker. The last two
    are null for keys that are bound to a tenant, because a worker holds tasks of all tenants."""

    lease_left_seconds: Annotated[
        float | None, Meta(description="Of its shortest lease; negative once that has run out")
    ]
    held_count: Count | None
    held_task_ids: Annotated[list[Id] | None, Meta(description=f"The first {MOST_SHOWN} of them")]


class WorkerType(Struct, frozen=True, kw_only=True):
    """A task type that a worker runs, in the version that it has registered."""

    type: Name
    version: str


class WorkerDetail(WorkerView, frozen=True, kw_only=True):
    """One worker, with the types that it runs; none for a worker of an older version."""

    types: list[WorkerType]


class WorkerList(Struct, frozen=True, kw_only=True):
    """Workers, newest first."""

    workers: list[WorkerView]


class ServiceView(Struct, frozen=True, kw_only=True):
    """A process that announces itself. It is alive unless it has stopped or has missed a few beats.
    `detail` is its own description: the queues and slots of a supervisor, the failing duties of a
    reaper."""

    service_id: str
    role: Role
    host: str
    pid: int
    version: str
    alive: bool
    started_at: Moment
    last_seen: Moment
    ended_at: Moment | None
    silent_seconds: Annotated[float, Meta(description="Since its last beat")]
    detail: Annotated[Json, Meta(description="A JSON object")]


class ServiceList(Struct, frozen=True, kw_only=True):
    """Services by role, those that run first."""

    services: list[ServiceView]


class TypeView(Struct, frozen=True, kw_only=True):
    """A task type, as the worker that started last has registered it. A limit that is null is that
    of the configuration."""

    type: Name
    queue: Name
    payload_schema: Annotated[Json, Meta(description="A JSON Schema of the payload")]
    max_attempts: Annotated[int, Meta(ge=1, le=MAX_ATTEMPTS)] | None
    timeout_seconds: Annotated[float, Meta(gt=0)] | None
    updated_at: Moment


class TypeVersion(Struct, frozen=True, kw_only=True):
    """One version of a task type: all that a deploy can change about it. `workers`: open workers that
    run it."""

    version: str
    queue: Name
    max_attempts: Annotated[int, Meta(ge=1, le=MAX_ATTEMPTS)] | None
    timeout_seconds: Annotated[float, Meta(gt=0)] | None
    first_seen_at: Moment
    workers: Count


class TypeDetail(TypeView, frozen=True, kw_only=True):
    """A task type and its versions, the newest first; none where its workers are of an older version
    of leaseq."""

    versions: list[TypeVersion]


class TypeList(Struct, frozen=True, kw_only=True):
    """Task types by name. If there are more, `next_cursor` is not null."""

    types: list[TypeView]
    next_cursor: Name | None


Setting = bool | int | float | str | None


class Check(Struct, frozen=True, kw_only=True):
    """The configuration of this process and the findings about its servers. `ok`: a process with this
    configuration would start. `changed`: the settings that differ from their defaults."""

    ok: bool
    servers: Annotated[dict[str, str], Meta(description="Product and version of each that answers")]
    findings: list[Finding]
    config: dict[str, Setting]
    changed: list[str]


__all__ = [
    "Check",
    "DepthsView",
    "Due",
    "DueMinute",
    "DueTask",
    "Durations",
    "EndedAttempts",
    "Figures",
    "Fleet",
    "LaneCounts",
    "Need",
    "Overview",
    "PauseBody",
    "PausedView",
    "QueueList",
    "QueueStanding",
    "QueueView",
    "Running",
    "RunningTask",
    "ServiceList",
    "ServiceView",
    "Statistics",
    "StatisticsStep",
    "TypeDetail",
    "TypeFigures",
    "TypeList",
    "TypeVersion",
    "TypeView",
    "WorkerDetail",
    "WorkerList",
    "WorkerType",
    "WorkerView",
]
