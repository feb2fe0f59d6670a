"""The examples of the OpenAPI document for tasks, batches and attempts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Raw

from leaseq.model import Outcome, State, TaskError
from leaseq_api.batch.schemas import BatchAnswer, BatchItem, BatchOutcome, BatchTask
from leaseq_api.example_values import (
    CREATED_AT,
    FINISHED_AT,
    STARTED_AT,
    TASK_ID,
    WORKER_ID,
    Examples,
    example_of,
)
from leaseq_api.problem_kinds import KINDS
from leaseq_api.problems import Problem, page_of
from leaseq_api.schemas import (
    AttemptList,
    AttemptView,
    RememberedTask,
    SubmitBody,
    TaskPage,
    TaskSummaryView,
    TaskView,
)

_TASK: dict[str, Any] = {
    "task_id": TASK_ID,
    "type": "charge",
    "queue": "billing",
    "idempotency_key": "order-1",
    "created_at": CREATED_AT,
}
_WAITING: dict[str, Any] = _TASK | {
    "tenant": "default",
    "state": State.PENDING,
    "priority": "normal",
    "attempt": 0,
    **dict.fromkeys(("retry_count", "crash_count", "loss_count", "hand_back_count"), 0),
    "max_attempts": 5,
    "timeout_seconds": 30.0,
    "run_at": CREATED_AT,
    "labels": {"account": "42"},
    "waiting_for": None,
    "progress": None,
    "error": None,
}
_ENDED: dict[str, Any] = _WAITING | {
    "state": State.SUCCESS,
    "attempt": 1,
    "started_at": STARTED_AT,
    "finished_at": FINISHED_AT,
    "worker_id": WORKER_ID,
    "type": "charge",
}
_ERROR = Raw(
    msgspec.json.encode(
        TaskError("error", "the card was declined", "Declined", "in charge, line 12\n")
    )
)

_SUBMISSIONS = {
    "smallest": (
        "The least that is needed",
        SubmitBody(type="charge", payload=Raw(b'{"cents":500}')),
    ),
    "later": (
        "Later, and first in its queue",
        SubmitBody(
            type="charge",
            payload=Raw(b'{"order_id":1,"cents":500}'),
            queue="billing",
            priority="high",
            delay_seconds=60,
            max_attempts=3,
            labels={"account": "42"},
        ),
    ),
}

_BATCH_TASK = BatchTask(**_TASK, state=State.PENDING)
_BATCH_PROBLEM = Problem(
    type=page_of("payload_invalid"),
    title=KINDS["payload_invalid"].title,
    status=KINDS["payload_invalid"].status,
    detail="Expected `int`, got `str` - at `$.cents`",
    code="payload_invalid",
    instance="/api/tasks/batch",
    pointer="/payload/cents",
)

_ERASED: dict[str, Any] = {
    name: value for name, value in _ENDED.items() if name not in ("progress", "error")
} | {"erased_at": datetime(2026, 11, 30, 13, 0, tzinfo=UTC)}
# By the name of the schema: name of the example, then what it shows, and the value.
TASK_EXAMPLES: Examples = {
    "SubmitBody": dict(_SUBMISSIONS),
    "TaskView": {
        "waiting": (
            "A task that waits for a worker",
            example_of(TaskView, **_WAITING, result=None),
        ),
        "ended": (
            "A task that has ended",
            example_of(
                TaskView,
                **_ENDED,
                result=Raw(b'{"receipt":"r-17"}'),
                payload=Raw(b'{"cents":500}'),
            ),
        ),
        "erased": ("Erased since its end, without its contents", example_of(TaskView, **_ERASED)),
    },
    "RememberedTask": {
        "pruned": (
            "A replay, after the task was deleted",
            example_of(RememberedTask, **_TASK, state=State.SUCCESS),
        )
    },
    "TaskPage": {
        "page": (
            "The last page",
            example_of(TaskPage, tasks=[example_of(TaskSummaryView, **_ENDED)], next_cursor=None),
        )
    },
    "AttemptList": {
        "one": (
            "One attempt that raised",
            example_of(
                AttemptList,
                task_id=TASK_ID,
                attempts=[
                    example_of(
                        AttemptView,
                        attempt=1,
                        hand_backs=None,
                        outcome=Outcome.ERRORED,
                        worker_id=WORKER_ID,
                        started_at=STARTED_AT,
                        finished_at=FINISHED_AT,
                        next_state=State.SCHEDULED,
                        error=_ERROR,
                    )
                ],
            ),
        )
    },
    "BatchItem": {
        "item": (
            "A submission with its own idempotency key",
            BatchItem(type="charge", payload=Raw(b'{"cents":500}'), idempotency_key="order-1"),
        )
    },
    "BatchOutcome": {
        "recorded": (
            "The item is recorded",
            BatchOutcome(status=202, replayed=False, task=_BATCH_TASK),
        ),
        "refused": (
            "The item is refused, and others are not affected",
            BatchOutcome(status=422, problem=_BATCH_PROBLEM),
        ),
    },
    "BatchAnswer": {
        "both": (
            "One item was recorded, and one refused",
            BatchAnswer(
                items=[
                    BatchOutcome(status=202, replayed=False, task=_BATCH_TASK),
                    BatchOutcome(status=422, problem=_BATCH_PROBLEM),
                ]
            ),
        )
    },
}
TASK_PARAMETERS = {
    "task_id": TASK_ID,
    "queue": "billing",
    "wait": 10,
    "worker_id": WORKER_ID,
    "type": "charge",
}

__all__ = ["TASK_EXAMPLES", "TASK_PARAMETERS"]
