"""Turn records of the ledger into the JSON of HTTP and `--json`."""

from __future__ import annotations

from msgspec.structs import asdict

from leaseq.dispatch.survey import Depths
from leaseq.ledger.ledger import Listing
from leaseq.model import Priority, Submission, Submitted, Task, TaskSummary
from leaseq.records import Attempt
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

_NAMES: dict[Priority, PriorityName] = {Priority.HIGH: "high", Priority.NORMAL: "normal", Priority.LOW: "low"}


def summary_view(task: TaskSummary) -> TaskSummaryView:
    """A task as a list shows it."""
    return TaskSummaryView(
        task_id=task.task_id,
        type=task.type,
        queue=task.queue,
        state=task.state,
        priority=_NAMES[task.priority],
        attempt=task.attempt,
        retry_count=task.retry_count,
        crash_count=task.crash_count,
        loss_count=task.loss_count,
        hand_back_count=task.hand_back_count,
        max_attempts=task.max_attempts,
        timeout_seconds=task.timeout_seconds,
        idempotency_key=task.idempotency_key,
        created_at=task.created_at,
        run_at=task.run_at,
        started_at=task.started_at,
        finished_at=task.finished_at,
        expires_at=task.expires_at,
        cancel_requested_at=task.cancel_requested_at,
        worker_id=task.worker_id,
        progress=_json(task.progress),
        error=_json(task.error),
    )


def task_view(task: Task) -> TaskView:
    """A task as recorded in the ledger."""
    return TaskView(**asdict(summary_view(task)), result=_json(task.result), payload=Json(task.payload))


def fresh_view(submission: Submission, submitted: Submitted) -> TaskView:
    """A task that was just created, without reading the ledger again."""
    return TaskView(
        task_id=submitted.task_id,
        type=submission.type,
        queue=submitted.queue,
        state=submitted.state,
        priority=_NAMES[submission.priority],
        attempt=0,
        retry_count=0,
        crash_count=0,
        loss_count=0,
        hand_back_count=0,
        max_attempts=submission.max_attempts,
        timeout_seconds=submission.timeout_seconds,
        idempotency_key=submission.idempotency_key,
        created_at=submitted.created_at,
        run_at=submitted.run_at,
        started_at=None,
        finished_at=None,
        expires_at=submission.expires_at,
        cancel_requested_at=None,
        worker_id=None,
        progress=None,
        result=None,
        error=None,
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
    )


def task_page(listing: Listing) -> TaskPage:
    """A page of tasks."""
    return TaskPage(tasks=[summary_view(task) for task in listing.tasks], next_cursor=listing.cursor)


def attempt_view(attempt: Attempt) -> AttemptView:
    """An attempt as recorded in the ledger."""
    return AttemptView(
        attempt=attempt.attempt,
        hand_backs=attempt.hand_backs,
        outcome=attempt.outcome,
        worker_id=attempt.worker_id,
        started_at=attempt.started_at,
        finished_at=attempt.finished_at,
        next_state=attempt.next_state,
        error=_json(attempt.error),
    )


def depths_view(depths: Depths) -> DepthsView:
    """The lengths of the lists of a queue, and whether more tasks wait in the ledger."""
    return DepthsView(
        waiting=depths.waiting,
        high=depths.high,
        normal=depths.normal,
        low=depths.low,
        suspect=depths.suspect,
        parked=depths.parked,
        backlog_since=depths.backlog_since,
    )


def _json(raw: bytes | None) -> Json | None:
    return None if raw is None else Json(raw)


__all__ = ["attempt_view", "depths_view", "fresh_view", "remembered", "summary_view", "task_page", "task_view"]
