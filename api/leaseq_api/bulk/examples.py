"""The examples of the OpenAPI document about operations on many tasks."""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec import Struct

from leaseq_api.bulk.schemas import (
    BulkOperationView,
    FilterBody,
    FilterView,
    PreviewBody,
    PreviewView,
    RefusalCount,
    SampleView,
    StartBody,
)

_ID = "01997b1c-9a41-7d10-8c52-3f4e5d6c7b8a"
_AS_OF = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
_FILTER = FilterBody(type="charge", queue="billing")
BULK_PARAMETERS = {"operation_id": _ID}
# By the name of the schema: name of the example, then what it shows, and the value.
BULK_EXAMPLES: dict[str, dict[str, tuple[str, Struct]]] = {
    "PreviewBody": {
        "cancel": (
            "The tasks of one type that wait in one queue",
            PreviewBody(action="cancel", filter=_FILTER),
        )
    },
    "PreviewView": {
        "counted": (
            "4,812 tasks, and one of them",
            PreviewView(
                operation_id=_ID,
                as_of=_AS_OF,
                count=4812,
                exact=True,
                oldest_at=datetime(2026, 11, 30, 9, 12, tzinfo=UTC),
                newest_at=datetime(2026, 11, 30, 11, 59, tzinfo=UTC),
                samples=[
                    SampleView(
                        task_id="01997b1c-8f2e-7c3a-9d41-5e6f7a8b9c0d",
                        queue="billing",
                        type="charge",
                        state="PENDING",
                        at=datetime(2026, 11, 30, 11, 59, tzinfo=UTC),
                    )
                ],
            ),
        )
    },
    "StartBody": {
        "cancel": (
            "Cancel them, 50 a second",
            StartBody(
                operation_id=_ID,
                action="cancel",
                filter=_FILTER,
                rate=50.0,
                reason="submitted twice by mistake",
                as_of=_AS_OF,
            ),
        )
    },
    "BulkOperationView": {
        "running": (
            "A third is done, and two had ended by themselves",
            BulkOperationView(
                operation_id=_ID,
                action="cancel",
                filter=FilterView(
                    ids=None,
                    queue="billing",
                    type="charge",
                    error=None,
                    running=False,
                    labels={},
                ),
                tenant=None,
                actor="ops",
                key_id="k7w2m9x4q1zp",
                reason="submitted twice by mistake",
                as_of=_AS_OF,
                rate=50.0,
                state="running",
                total=4812,
                total_exact=True,
                looked=1606,
                done=1602,
                refused=2,
                refusals=[RefusalCount(reason="success", count=2)],
                worked_at=datetime(2026, 11, 30, 12, 0, 33, tzinfo=UTC),
                began_at=datetime(2026, 11, 30, 12, 0, 1, tzinfo=UTC),
                ended_at=None,
            ),
        )
    },
}

__all__ = ["BULK_EXAMPLES", "BULK_PARAMETERS"]
