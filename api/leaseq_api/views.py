"""Turn records of the ledger into the JSON of HTTP and `--json`."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import asdict, replace

from leaseq.dispatch.queue_lists import Depths
from leaseq.dispatch.worker_holdings import Holding
from leaseq.ledger.followed import FollowedTask, WrittenTask
from leaseq.ledger.operation_log import OperationListing
from leaseq.ledger.services import Role, ServiceRecord
from leaseq.ledger.task_lists import Listing
from leaseq.ledger.task_types import RegisteredType
from leaseq.limits import fair_queue
from leaseq.model import (
    AttemptRecord,
    Priority,
    QueueRecord,
    State,
    Submission,
    Submitted,
    Task,
    TaskSummary,
    WorkerRecord,
)
from leaseq.uniqueness import HoldName
from leaseq_api.follow.event_views import FollowedTaskView, ListedTaskView
from leaseq_api.operate_schemas import (
    DepthsView,
    PausedView,
    QueueView,
    ServiceView,
    TypeView,
    WorkerView,
)
from leaseq_api.schemas import (
    AttemptView,
    FreshTaskView,
    Json,
    OperationPage,
    OperationView,
    PriorityName,
    RememberedTask,
    TaskPage,
    TaskSummaryView,
    TaskView,
    UniqueView,
    WaitingFor,
)

# Data of clients and handlers: for keys with the scope `payloads`.
_CONTENTS = frozenset({"payload", "result", "progress", "error"})

T = TypeVar("T", bound=Struct)
_NAMES: dict[Priority, PriorityName] = {
    Priority.HIGH: "high",
    Priority.NORMAL: "normal",
    Priority.LOW: "low",
}


def summary_view(task: TaskSummary, *, contents: bool = True) -> TaskSummaryView:
    """A task as a list shows it."""
    return _view(TaskSummaryView, task, contents=contents and task.erased_at is None)


def task_view(
    task: Task, *, contents: bool = True, deduplicated: bool | UnsetType = UNSET
) -> TaskView:
    """A task as recorded in the ledger; without `contents`, only what leaseq itself wrote. An erased
    task has none, not even null."""
    view = _view(TaskView, task, contents=contents and task.erased_at is None)
    return view if deduplicated is UNSET else replace(view, deduplicated=deduplicated)


def followed_view(task: FollowedTask, *, contents: bool = True) -> FollowedTaskView:
    """A task as a stream of events shows it."""
    return _view(FollowedTaskView, task, contents=contents and task.erased_at is None)


def listed_view(task: WrittenTask) -> ListedTaskView:
    """A task as the stream of all tasks shows it."""
    return _view(ListedTaskView, task)


def fresh_view(submission: Submission, submitted: Submitted) -> TaskView:
    """A task that was just created, without reading the ledger again."""
    return FreshTaskView(
        task_id=submitted.task_id,
        tenant=submission.tenant,
        type=submission.type,
        queue=submitted.queue,
        state=submitted.state,
        priority=_NAMES[submission.priority],
        max_attempts=submission.max_attempts,
        timeout_seconds=submission.timeout_seconds,
        idempotency_key=submission.idempotency_key,
        created_at=submitted.created_at,
        run_at=submitted.run_at,
        expires_at=submission.expires_at,
        labels=dict(submission.labels or {}),
        waiting_for=_fresh_wait(submission, submitted),
        unique=_fresh_unique(submission),
    )


def remembered(submission: Submission, submitted: Submitted) -> RememberedTask:
    """A pruned task, from its key and from the submission, which has the same content."""
    return RememberedTask(
        task_id=submitted.task_id,
        type=submission.type,
        queue=submitted.queue,
        state=submitted.state,
        idempotency_key=submission.idempotency_key,
        created_at=submitted.created_at,
        deduplicated=True if submitted.deduplicated else UNSET,
    )


def task_page(listing: Listing, *, contents: bool = True) -> TaskPage:
    """A page of tasks."""
    views = [summary_view(task, contents=contents) for task in listing.tasks]
    return TaskPage(tasks=views, next_cursor=listing.cursor)


def attempt_view(attempt: AttemptRecord, *, contents: bool = True) -> AttemptView:
    """An attempt as recorded in the ledger."""
    return _view(AttemptView, attempt, contents=contents)


def operation_page(listing: OperationListing) -> OperationPage:
    """A page of operations."""
    views = [_view(OperationView, operation) for operation in listing.operations]
    return OperationPage(operations=views, next_cursor=listing.cursor)


def queue_view(record: QueueRecord, depths: Depths | None, *, whole: bool = True) -> QueueView:
    """A queue. Not `whole`: without numbers and names that are not those of one tenant."""
    return QueueView(
        name=record.name,
        paused=record.paused,
        paused_by=record.paused_by if whole else None,
        paused_reason=record.paused_reason,
        paused_at=record.paused_at,
        depths=None if depths is None else depths_view(depths),
        limit=record.limit,
        fair=record.fair,
    )


def paused_view(record: QueueRecord) -> PausedView:
    """A queue that was paused or resumed."""
    return _view(PausedView, record)


def worker_view(worker: WorkerRecord, holding: Holding | None, *, whole: bool = True) -> WorkerView:
    """A worker. Not `whole`: without the tasks of other tenants."""
    shown = holding if whole else None
    left_ms = None if holding is None else holding.left_ms
    return WorkerView(
        **asdict(worker),
        lease_left_seconds=None if left_ms is None else left_ms / 1000,
        held_count=None if shown is None else shown.count,
        held_task_ids=None if shown is None else shown.task_ids,
    )


def service_view(service: ServiceRecord) -> ServiceView:
    """A process that announces itself."""
    return ServiceView(
        service_id=service.service_id,
        role=cast(Role, service.role),
        host=service.host,
        pid=service.pid,
        version=service.version,
        alive=service.is_alive,
        started_at=service.started_at,
        last_seen=service.last_seen,
        ended_at=service.ended_at,
        silent_seconds=service.silent_seconds,
        detail=Json(service.detail),
    )


def type_view(registered: RegisteredType) -> TypeView:
    """A task type as workers have registered it."""
    return _view(TypeView, registered)


def depths_view(depths: Depths) -> DepthsView:
    """The lengths of the lists of a queue, and whether more tasks wait in the ledger."""
    return _view(DepthsView, depths)


def waiting_for(task: TaskSummary) -> WaitingFor | None:
    """The reason why a task is SCHEDULED; None in every other state."""
    if task.state is not State.SCHEDULED:
        return None
    if not task.in_line:
        return WaitingFor(time=task.run_at)
    return _line(task.limit_name, task.concurrency_key)


def _unique(task: TaskSummary) -> UniqueView | UnsetType:
    if task.unique_key is None:
        return UNSET
    return UniqueView(
        task.unique_key, cast(HoldName, task.unique_hold), task.has_unique_key is True
    )


def _fresh_unique(submission: Submission) -> UniqueView | UnsetType:
    unique = submission.unique
    return UNSET if unique is None else UniqueView(unique.key, unique.rule.hold, True)


def _fresh_wait(submission: Submission, submitted: Submitted) -> WaitingFor | None:
    if submitted.state is not State.SCHEDULED:
        return None
    if submission.limit is None or submitted.run_at > submitted.created_at:
        return WaitingFor(time=submitted.run_at)
    return _line(submission.limit, submission.concurrency_key)


def _line(limit: str | None, key: str | None) -> WaitingFor:
    """The line of a task: that of its tenant in a fair queue, or that of its key."""
    queue = fair_queue(limit)
    if queue is not None:
        return WaitingFor(queue=queue)
    return WaitingFor(limit=limit or UNSET, key=key or UNSET)


def _view(kind: type[T], source: Struct, *, contents: bool = True) -> T:
    """A view of the same fields. Values of clients and handlers are JSON already and are not
    encoded again."""
    values: dict[str, Any] = {}
    for name in kind.__struct_fields__:
        if name == "waiting_for":
            assert isinstance(source, TaskSummary)
            values[name] = waiting_for(source)
            continue
        if name == "unique":
            assert isinstance(source, TaskSummary)
            values[name] = _unique(source)
            continue
        if name == "deduplicated":
            continue
        value = getattr(source, name) if contents or name not in _CONTENTS else UNSET
        if isinstance(value, bytes):
            value = Json(value)
        elif isinstance(value, Priority):
            value = _NAMES[value]
        values[name] = value
    return kind(**values)


__all__ = [
    "attempt_view",
    "depths_view",
    "followed_view",
    "fresh_view",
    "listed_view",
    "operation_page",
    "paused_view",
    "queue_view",
    "remembered",
    "service_view",
    "summary_view",
    "task_page",
    "task_view",
    "type_view",
    "waiting_for",
    "worker_view",
]
