"""Make views of schedules."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, Raw

from leaseq.model import Priority
from leaseq.options import PriorityName
from leaseq.schedules.read_timing import describe
from leaseq.schedules.schedule import Schedule, ScheduleRun
from leaseq_api.schedules.schemas import SchedulePage, ScheduleView

PREVIEWED = 5
_NAMES: dict[Priority, PriorityName] = {
    Priority.HIGH: "high",
    Priority.NORMAL: "normal",
    Priority.LOW: "low",
}
_OWN = {"description", "priority", "limit", "payload", "next_times", "runs"}


def schedule_view(
    schedule: Schedule,
    runs: list[ScheduleRun] | None = None,
    *,
    contents: bool = True,
    previewed: int = PREVIEWED,
) -> ScheduleView:
    """One schedule; with its `runs` also its next times and, with `contents`, its payload."""
    fields: dict[str, Any] = {
        name: getattr(schedule, name) for name in ScheduleView.__struct_fields__ if name not in _OWN
    }
    whole = runs is not None
    return ScheduleView(
        description=describe(schedule.timing),
        priority=_NAMES[schedule.priority],
        limit=schedule.limit_name,
        payload=Raw(schedule.payload) if whole and contents else UNSET,
        next_times=schedule.preview(previewed) if whole else UNSET,
        runs=UNSET if runs is None else runs,
        **fields,
    )


def schedule_page(found: list[Schedule], *, limit: int) -> SchedulePage:
    """One page of schedules."""
    more = f"{found[-1].tenant}/{found[-1].name}" if len(found) == limit else None
    return SchedulePage(schedules=[schedule_view(each) for each in found], next_cursor=more)


__all__ = ["PREVIEWED", "schedule_page", "schedule_view"]
