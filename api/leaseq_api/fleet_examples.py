"""Examples of the OpenAPI document about processes and running tasks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec import Raw, Struct

from leaseq.server_checks.findings import Finding
from leaseq_api.operate_schemas import (
    Check,
    Due,
    DueMinute,
    DueTask,
    Running,
    RunningTask,
    ServiceList,
    ServiceView,
    TypeDetail,
    TypeVersion,
    WorkerDetail,
    WorkerType,
)

_AT = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
_WORKER = "billing-7f9c-31-a1b2c3"
_TASK = "01997b1c-8f2e-7c3a-9d41-5e6f7a8b9c0d"

# By the name of the schema: name of the example, then what it shows, and the value.
FLEET_EXAMPLES: dict[str, dict[str, tuple[str, Struct]]] = {
    "Check": {
        "warning": (
            "A server with a warning",
            Check(
                ok=True,
                servers={"postgres": "PostgreSQL 17.2", "redis": "valkey 8.0.1"},
                findings=[
                    Finding(
                        about="redis",
                        fatal=False,
                        message="its append-only file is off, so every restart means rebuilding queues: "
                        "set appendonly yes",
                    )
                ],
                config={"LEASEQ_LOG_LEVEL": "info"},
                changed=[],
            ),
        )
    },
    "Due": {
        "retry": (
            "A retry in its backoff",
            Due(
                at=_AT,
                overdue=0,
                overdue_since=None,
                counted_until=None,
                minutes=[DueMinute(at=_AT, count=1)],
                tasks=[
                    DueTask(
                        task_id=_TASK,
                        tenant="default",
                        queue="billing",
                        type="charge",
                        run_at=_AT + timedelta(seconds=41),
                        created_at=_AT - timedelta(minutes=3),
                        overdue=False,
                        reason="retry",
                        attempt=2,
                        max_attempts=5,
                        error=Raw(
                            b'{"code":"error","message":"read timed out","type":"ConnectTimeout"}'
                        ),
                    )
                ],
            ),
        )
    },
    "TypeDetail": {
        "versions": (
            "A type in the middle of a deploy",
            TypeDetail(
                type="charge",
                queue="billing",
                payload_schema=Raw(
                    b'{"type":"object","properties":{"cents":{"type":"integer"}},"required":["cents"]}'
                ),
                max_attempts=5,
                timeout_seconds=30.0,
                updated_at=_AT,
                versions=[
                    TypeVersion(
                        version="4f1c2a9b7d03",
                        queue="billing",
                        max_attempts=5,
                        timeout_seconds=30.0,
                        first_seen_at=_AT,
                        workers=2,
                    )
                ],
            ),
        )
    },
    "Running": {
        "unusual": (
            "One task, which runs for longer than usual",
            Running(
                at=_AT,
                redis="up",
                held=1,
                more=False,
                tasks=[
                    RunningTask(
                        task_id=_TASK,
                        tenant="default",
                        queue="billing",
                        type="charge",
                        attempt=1,
                        max_attempts=5,
                        worker_id=_WORKER,
                        host="web-3",
                        started_at=_AT - timedelta(seconds=12.4),
                        run_seconds=12.4,
                        timeout_seconds=30.0,
                        timeout_share=12.4 / 30.0,
                        lease_left_seconds=8.1,
                        usual_p95_seconds=1.4,
                        unusual=True,
                        cancel_requested_at=None,
                        progress=Raw(b'{"step":2}'),
                    )
                ],
            ),
        )
    },
    "ServiceList": {
        "reaper": (
            "A reaper that runs",
            ServiceList(
                services=[
                    ServiceView(
                        service_id="0f5d3b7c9a114e6f8b2d4c6a8e0f1b3d",
                        role="reaper",
                        host="ops-1",
                        pid=31,
                        version="0.1.0",
                        alive=True,
                        started_at=_AT - timedelta(hours=9),
                        last_seen=_AT - timedelta(seconds=4),
                        ended_at=None,
                        silent_seconds=4.0,
                        detail=Raw(b'{"failing":[],"braked":false,"quiet":false}'),
                    )
                ]
            ),
        )
    },
    "WorkerDetail": {
        "open": (
            "A worker that runs two types",
            WorkerDetail(
                worker_id=_WORKER,
                host="web-3",
                pid=31,
                queues=["billing"],
                version="0.1.0",
                started_at=_AT - timedelta(hours=2),
                last_seen=_AT - timedelta(seconds=1),
                closed_at=None,
                close_reason=None,
                lease_left_seconds=8.1,
                held_count=1,
                held_task_ids=[_TASK],
                types=[
                    WorkerType(type="charge", version="4f1c2a9b7d03"),
                    WorkerType(type="refund", version="9a77c0d1e2f4"),
                ],
            ),
        )
    },
}

__all__ = ["FLEET_EXAMPLES"]
