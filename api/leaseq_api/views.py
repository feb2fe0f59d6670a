"""Turn records of the ledger into the JSON of HTTP and `--json`."""

from __future__ import annotations

from typing import Any, TypeVar

from msgspec import UNSET, Struct

from leaseq.dispatch.queue_lists import Depths
from leaseq.ledger.task_lists import Listing
from leaseq.model import AttemptRecord, Priority, Submission, Submitted, Task, TaskSummary
from leaseq_api.schemas import (
    AttemptView,
    DepthsView,
    Json,
    PriorityName,
    RememberedTask,
    TaskPage,
    TaskSummaryView,
    TaskView,
)

T = TypeVar("T", bound=Struct)
_NAMES: dict[Priority, PriorityName] = {
    Priority.HIGH: "high",
    Priority.NORMAL: "normal",
    Priority.LOW: "low",
}


# A task that was created a moment ago has done nothing yet.
_NOTHING = dict.fromkeys(TaskView.__struct_fields__) | {
    "attempt": 0,
    "retry_count": 0,
    "crash_count": 0,
    "loss_count": 0,
    "hand_back_count": 0,
}
_OF_SUBMITTED = [name for name in TaskView.__struct_fields__ if name in Submitted.__struct_fields__]
_OF_SUBMISSION = [
    name
    for name in TaskView.__struct_fields__
    if name in Submission.__struct_fields__ and name not in _OF_SUBMITTED
]


def summary_view(task: TaskSummary) -> TaskSummaryView:
    """A task as a list shows it."""
    return _view(TaskSummaryView, task)


def task_view(task: Task) -> TaskView:
    """A task as recorded in the ledger."""
    return _view(TaskView, task)


def fresh_view(submission: Submission, submitted: Submitted) -> TaskView:
    """A task that was just created, without reading the ledger again."""
    values: dict[str, Any] = dict(_NOTHING)
    for name in _OF_SUBMISSION:
        values[name] = getattr(submission, name)
    for name in _OF_SUBMITTED:
        values[name] = getattr(submitted, name)
    return TaskView(**values | {"priority": _NAMES[submission.priority], "payload": UNSET})


def remembered(submission: Submission, submitted: Submitted) -> RememberedTask:
    """A pruned task, from its key and from the submission, which has the same content."""
    return RememberedTask(
        task_id=submitted.task_id,
        type=submission.type,
        queue=submitted.queue,
        state=submitted.state,
        idempotency_key=submission.idempotency_key,
        created_at=submitted.created_at,
    )


def task_page(listing: Listing) -> TaskPage:
    """A page of tasks."""
    return TaskPage(
        tasks=[summary_view(task) for task in listing.tasks], next_cursor=listing.cursor
    )


def attempt_view(attempt: AttemptRecord) -> AttemptView:
    """An attempt as recorded in the ledger."""
    return _view(AttemptView, attempt)


def depths_view(depths: Depths) -> DepthsView:
    """The lengths of the lists of a queue, and whether more tasks wait in the ledger."""
    return _view(DepthsView, depths)


def _view(kind: type[T], source: Struct) -> T:
    """A view of the same fields. Values of clients and handlers are JSON already and are not
    encoded again."""
    return kind(**{name: _shown(getattr(source, name)) for name in kind.__struct_fields__})


def _shown(value: Any) -> Any:
    if isinstance(value, bytes):
        return Json(value)
    return _NAMES[value] if isinstance(value, Priority) else value


__all__ = [
    "attempt_view",
    "depths_view",
    "fresh_view",
    "remembered",
    "summary_view",
    "task_page",
    "task_view",
]
