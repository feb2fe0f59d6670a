"""What does a script see of a task: the same names as over HTTP?"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from leaseq.model import Priority, Submission, Submitted, TaskSummary
from leaseq.records import Attempt

JSON_FIELDS = ("payload", "result", "error", "progress")


def task_json(task: TaskSummary) -> dict[str, Any]:
    """A task, whole or as a list has it; its JSON values as they are."""
    fields = msgspec.structs.asdict(task)
    del fields["tenant"]
    return _with_raw(fields) | {"priority": priority_name(task.priority)}


def attempt_json(attempt: Attempt) -> dict[str, Any]:
    """An attempt that did not succeed."""
    fields = msgspec.structs.asdict(attempt)
    del fields["task_id"]
    return _with_raw(fields)


def submitted_json(submission: Submission, submitted: Submitted) -> dict[str, Any]:
    """What became of a submission."""
    return {
        "task_id": submitted.task_id,
        "type": submission.type,
        "queue": submitted.queue,
        "state": submitted.state,
        "replayed": submitted.replayed,
        "created_at": submitted.created_at,
        "run_at": submitted.run_at,
    }


def priority_name(priority: Priority) -> str:
    """high, normal or low."""
    return priority.name.lower()


def _with_raw(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: Raw(value) if name in JSON_FIELDS and value is not None else value for name, value in fields.items()}


__all__ = ["attempt_json", "priority_name", "submitted_json", "task_json"]
