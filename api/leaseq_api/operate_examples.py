"""The examples of the OpenAPI document for operators."""

from __future__ import annotations

from msgspec import Raw

from leaseq_api.action_examples import ACTION_EXAMPLES
from leaseq_api.example_values import (
    CREATED_AT,
    FINISHED_AT,
    STARTED_AT,
    TASK_ID,
    WORKER_ID,
    Examples,
    example_of,
)
from leaseq_api.fleet_examples import FLEET_EXAMPLES
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
from leaseq_api.overview_examples import OVERVIEW_EXAMPLES
from leaseq_api.schemas import OperationPage, OperationView
from leaseq_api.statistics_examples import STATISTICS_EXAMPLES
from leaseq_api.why_examples import WHY_EXAMPLES

# By the name of the schema: name of the example, then what it shows, and the value.
_LISTS: Examples = {
    "QueueList": {
        "queues": (
            "One queue with five waiting deliveries",
            example_of(
                QueueList,
                next_cursor=None,
                queues=[
                    example_of(
                        QueueView,
                        name="billing",
                        paused=False,
                        fair=False,
                        depths=example_of(
                            DepthsView,
                            waiting=5,
                            high=1,
                            normal=4,
                            low=0,
                            suspect=0,
                            parked=0,
                            backlog_since=None,
                            oldest_at=CREATED_AT,
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
            example_of(
                PausedView,
                name="billing",
                paused=True,
                paused_by="on-call",
                paused_reason="the bank does not answer",
                paused_at=FINISHED_AT,
            ),
        )
    },
    "TypeList": {
        "types": (
            "One type",
            example_of(
                TypeList,
                types=[
                    example_of(
                        TypeView,
                        type="charge",
                        queue="billing",
                        payload_schema=Raw(
                            b'{"type":"object","properties":{"cents":{"type":"integer"}},"required":["cents"]}'
                        ),
                        max_attempts=5,
                        timeout_seconds=30.0,
                        updated_at=CREATED_AT,
                    )
                ],
            ),
        )
    },
    "OperationPage": {
        "refused": (
            "A change that was refused",
            example_of(
                OperationPage,
                operations=[
                    example_of(
                        OperationView,
                        operation_id="01997b1d-2b6c-7a11-8c55-3f0e9d2b7a64",
                        kind="single",
                        action="redrive",
                        target=TASK_ID,
                        actor="open API",
                        outcome="refused",
                        code="task_conflict",
                        began_at=STARTED_AT,
                        ended_at=FINISHED_AT,
                    )
                ],
            ),
        )
    },
    "WorkerList": {
        "workers": (
            "One worker",
            example_of(
                WorkerList,
                workers=[
                    example_of(
                        WorkerView,
                        worker_id=WORKER_ID,
                        host="billing-7f9c",
                        pid=31,
                        queues=["billing"],
                        version="0.1.0",
                        started_at=CREATED_AT,
                        last_seen=FINISHED_AT,
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
}
OPERATE_EXAMPLES: Examples = (
    _LISTS
    | ACTION_EXAMPLES
    | FLEET_EXAMPLES
    | OVERVIEW_EXAMPLES
    | STATISTICS_EXAMPLES
    | WHY_EXAMPLES
)

__all__ = ["OPERATE_EXAMPLES"]
