"""Examples of schedules in the OpenAPI document."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Raw, Struct

from leaseq.model import State
from leaseq.schedules.schedule import ScheduleRun
from leaseq_api.schedules.schemas import (
    RunBody,
    RunView,
    ScheduleBody,
    SchedulePage,
    ScheduleView,
)

_TASK_ID = "0199c6d2-7f3a-7cc4-b2a8-9d1f6a0c4e11"
_NEXT = datetime(2026, 12, 1, 5, 0, tzinfo=UTC)
_DAY = timedelta(days=1)


def _view(**more: Any) -> ScheduleView:
    return ScheduleView(
        tenant="default",
        name="daily-report",
        description="At 06:00 every day",
        cron="0 6 * * *",
        tz="Europe/Zurich",
        every_seconds=None,
        start_at=None,
        end_at=None,
        type="report",
        queue="reports",
        priority="normal",
        max_attempts=5,
        timeout_seconds=300.0,
        labels={},
        limit=None,
        concurrency_key=None,
        catch_up="once",
        max_catch_up=10,
        overlap="skip",
        jitter_seconds=0,
        source="api",
        created_at=_NEXT - 30 * _DAY,
        changed_at=_NEXT - 30 * _DAY,
        paused_at=None,
        paused_by=None,
        next_at=_NEXT,
        last_at=_NEXT - _DAY,
        last_task_id=_TASK_ID,
        fired=30,
        missed=0,
        skipped=0,
        **more,
    )


SCHEDULE_EXAMPLES: dict[str, dict[str, tuple[str, Struct]]] = {
    "ScheduleBody": {
        "daily": (
            "A report each morning, by the clock on the wall",
            ScheduleBody(type="report", cron="0 6 * * *", tz="Europe/Zurich", overlap="skip"),
        )
    },
    "RunBody": {"run": ("Once, even if the request is repeated", RunBody(operation_id=_TASK_ID))},
    "RunView": {"run": ("A new task", RunView(task_id=_TASK_ID, created=True))},
    "ScheduleView": {
        "daily": (
            "A schedule, its next times and its last run",
            _view(
                payload=Raw(b"{}"),
                next_times=[_NEXT + n * _DAY for n in range(5)],
                runs=[ScheduleRun(at=_NEXT - _DAY, task_id=_TASK_ID, state=State.SUCCESS)],
            ),
        )
    },
    "SchedulePage": {
        "page": ("The last page", SchedulePage(schedules=[_view()], next_cursor=None))
    },
}
SCHEDULE_PARAMETERS: dict[str, Any] = {"schedule": "daily-report"}

__all__ = ["SCHEDULE_EXAMPLES", "SCHEDULE_PARAMETERS"]
