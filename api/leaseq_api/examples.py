"""The examples of the OpenAPI document.

They are values of the structs that the service sends and receives, so each has every field and no
other. Each schema of a body has one, and each code of a problem. `add_examples` adds them.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec.structs
from msgspec import Raw, Struct

from leaseq.model import Outcome, State, TaskError
from leaseq_api.access_examples import ACCESS_EXAMPLES, ACCESS_PARAMETERS
from leaseq_api.batch.schemas import BatchAnswer, BatchItem, BatchOutcome, BatchTask
from leaseq_api.bulk.examples import BULK_EXAMPLES, BULK_PARAMETERS
from leaseq_api.census_schemas import CENSUS_EXAMPLES
from leaseq_api.failures.examples import FAILURE_EXAMPLES, FAILURE_PARAMETERS
from leaseq_api.operate_examples import OPERATE_EXAMPLES
from leaseq_api.operate_schemas import (
    DepthsView,
    PauseBody,
    PausedView,
    QueueList,
    QueueView,
    TypeList,
    TypeView,
    WorkerList,
    WorkerView,
)
from leaseq_api.problem_kinds import KINDS
from leaseq_api.problems import PROBLEM_JSON, Problem, page_of
from leaseq_api.schemas import (
    AttemptList,
    AttemptView,
    Live,
    OperationPage,
    OperationView,
    Ready,
    RememberedTask,
    SubmitBody,
    TaskPage,
    TaskSummaryView,
    TaskView,
)

Tree = dict[str, Any]
T = TypeVar("T", bound=Struct)


def _example(kind: type[T], /, **values: Any) -> T:
    """A value of a struct. A field that is not given is null, or has its default."""
    required = dict.fromkeys(field.name for field in msgspec.structs.fields(kind) if field.required)
    return kind(**(required | values))


TASK_ID = "01997b1c-8f2e-7c3a-9d41-5e6f7a8b9c0d"
WORKER_ID = "billing-7f9c-31-a1b2c3"
_TASK: Tree = {
    "task_id": TASK_ID,
    "type": "charge",
    "queue": "billing",
    "idempotency_key": "order-1",
    "created_at": datetime(2026, 11, 30, 12, 0, tzinfo=UTC),
}
_STARTED_AT = datetime(2026, 11, 30, 12, 0, 0, 4000, tzinfo=UTC)
_FINISHED_AT = datetime(2026, 11, 30, 12, 0, 0, 250_000, tzinfo=UTC)
_WAITING: Tree = _TASK | {
    "tenant": "default",
    "state": State.PENDING,
    "priority": "normal",
    "attempt": 0,
    **dict.fromkeys(("retry_count", "crash_count", "loss_count", "hand_back_count"), 0),
    "max_attempts": 5,
    "timeout_seconds": 30.0,
    "run_at": _TASK["created_at"],
    "labels": {"account": "42"},
    "progress": None,
    "error": None,
}
_ENDED: Tree = _WAITING | {
    "state": State.SUCCESS,
    "attempt": 1,
    "started_at": _STARTED_AT,
    "finished_at": _FINISHED_AT,
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

_ERASED: Tree = {
    name: value for name, value in _ENDED.items() if name not in ("progress", "error")
} | {"erased_at": datetime(2026, 11, 30, 13, 0, tzinfo=UTC)}
# By the name of the schema: name of the example, then what it shows, and the value.
EXAMPLES: dict[str, dict[str, tuple[str, Struct]]] = {
    "SubmitBody": dict(_SUBMISSIONS),
    "TaskView": {
        "waiting": (
            "A task that waits for a worker",
            _example(TaskView, **_WAITING, result=None),
        ),
        "ended": (
            "A task that has ended",
            _example(
                TaskView,
                **_ENDED,
                result=Raw(b'{"receipt":"r-17"}'),
                payload=Raw(b'{"cents":500}'),
            ),
        ),
        "erased": ("Erased since its end, without its contents", _example(TaskView, **_ERASED)),
    },
    "RememberedTask": {
        "pruned": (
            "A replay, after the task was deleted",
            _example(RememberedTask, **_TASK, state=State.SUCCESS),
        )
    },
    "TaskPage": {
        "page": (
            "The last page",
            _example(TaskPage, tasks=[_example(TaskSummaryView, **_ENDED)], next_cursor=None),
        )
    },
    "AttemptList": {
        "one": (
            "One attempt that raised",
            _example(
                AttemptList,
                task_id=TASK_ID,
                attempts=[
                    _example(
                        AttemptView,
                        attempt=1,
                        hand_backs=None,
                        outcome=Outcome.ERRORED,
                        worker_id=WORKER_ID,
                        started_at=_STARTED_AT,
                        finished_at=_FINISHED_AT,
                        next_state=State.SCHEDULED,
                        error=_ERROR,
                    )
                ],
            ),
        )
    },
    "QueueList": {
        "queues": (
            "One queue with five waiting deliveries",
            _example(
                QueueList,
                next_cursor=None,
                queues=[
                    _example(
                        QueueView,
                        name="billing",
                        paused=False,
                        depths=_example(
                            DepthsView,
                            waiting=5,
                            high=1,
                            normal=4,
                            low=0,
                            suspect=0,
                            parked=0,
                            backlog_since=None,
                            oldest_at=_TASK["created_at"],
                        ),
                    )
                ],
            ),
        )
    },
    "PauseBody": {"reason": ("With a reason", PauseBody(reason="the bank does not answer"))},
    "PausedView": {
        "paused": (
            "After a pause",
            _example(
                PausedView,
                name="billing",
                paused=True,
                paused_by="on-call",
                paused_reason="the bank does not answer",
                paused_at=_FINISHED_AT,
            ),
        )
    },
    "TypeList": {
        "types": (
            "One type",
            _example(
                TypeList,
                types=[
                    _example(
                        TypeView,
                        type="charge",
                        queue="billing",
                        payload_schema=Raw(
                            b'{"type":"object","properties":{"cents":{"type":"integer"}},"required":["cents"]}'
                        ),
                        max_attempts=5,
                        timeout_seconds=30.0,
                        updated_at=_TASK["created_at"],
                    )
                ],
            ),
        )
    },
    "OperationPage": {
        "refused": (
            "A change that was refused",
            _example(
                OperationPage,
                operations=[
                    _example(
                        OperationView,
                        operation_id="01997b1d-2b6c-7a11-8c55-3f0e9d2b7a64",
                        kind="single",
                        action="redrive",
                        target=TASK_ID,
                        actor="open API",
                        outcome="refused",
                        code="task_conflict",
                        began_at=_STARTED_AT,
                        ended_at=_FINISHED_AT,
                    )
                ],
            ),
        )
    },
    "WorkerList": {
        "workers": (
            "One worker",
            _example(
                WorkerList,
                workers=[
                    _example(
                        WorkerView,
                        worker_id=WORKER_ID,
                        host="billing-7f9c",
                        pid=31,
                        queues=["billing"],
                        version="0.1.0",
                        started_at=_TASK["created_at"],
                        last_seen=_FINISHED_AT,
                        closed_at=None,
                        close_reason=None,
                        lease_left_seconds=4.2,
                        held_count=1,
                        held_task_ids=[TASK_ID],
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
    "Live": {"live": ("The process answers", Live())},
    "Ready": {"ready": ("Redis is away, and tasks are accepted all the same", Ready(redis="away"))},
}
EXAMPLES |= ACCESS_EXAMPLES | BULK_EXAMPLES | CENSUS_EXAMPLES | FAILURE_EXAMPLES | OPERATE_EXAMPLES
PARAMETERS: Tree = {"task_id": TASK_ID, "queue": "billing", "wait": 10}
PARAMETERS |= {"worker_id": WORKER_ID, "type": "charge"}
PARAMETERS |= ACCESS_PARAMETERS | BULK_PARAMETERS | FAILURE_PARAMETERS
_REFERENCE = re.compile(r"#/components/schemas/(\w+)")


def add_examples(document: Tree) -> None:
    """Put an example at every body, at every answer and at the parameters of paths."""
    for path, item in document["paths"].items():
        for operation in item.values():
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "path" or parameter["name"] == "wait":
                    parameter["example"] = PARAMETERS[parameter["name"]]
            for content in operation.get("requestBody", {}).get("content", {}).values():
                content["examples"] = _of_schema(content["schema"], sent=True)
            for response in operation["responses"].values():
                for media_type, content in response.get("content", {}).items():
                    if "examples" in content:
                        continue
                    content["examples"] = (
                        _problems(response["description"], path)
                        if media_type == PROBLEM_JSON
                        else _of_schema(content["schema"])
                    )


def _of_schema(schema: Tree, *, sent: bool = False) -> Tree:
    """The examples of a schema, or of a choice of schemas. A client does not send null members."""
    if schema.get("type") == "array":
        return {
            example: content | {"value": [content["value"]]}
            for example, content in _of_schema(schema["items"], sent=sent).items()
        }
    names = [
        named[1]
        for choice in schema.get("anyOf", [schema])
        if (named := _REFERENCE.fullmatch(choice.get("$ref", "")))
    ]
    return {
        example: {"summary": summary, "value": _plain(value, sent=sent)}
        for name in names
        for example, (summary, value) in EXAMPLES.get(name, {}).items()
    }


def _problems(description: str, path: str) -> Tree:
    """One example for each code of an answer."""
    codes = description.removeprefix("code: ").split(", ")
    return {
        code: {"summary": KINDS[code].title, "value": problem_example(code, _filled(path))}
        for code in codes
    }


def problem_example(code: str, path: str) -> Tree:
    """The body of an answer with a code."""
    kind = KINDS[code]
    return {
        "type": page_of(code),
        "title": kind.title,
        "status": kind.status,
        "detail": kind.advice,
        "code": code,
        "instance": path,
    }


def _filled(path: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: str(PARAMETERS[found[1]]), path)


def _plain(value: Struct, *, sent: bool) -> Tree:
    plain: Tree = msgspec.json.decode(msgspec.json.encode(value))
    return {name: each for name, each in plain.items() if each is not None} if sent else plain


__all__ = ["EXAMPLES", "add_examples", "problem_example"]
