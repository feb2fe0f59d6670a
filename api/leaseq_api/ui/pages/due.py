"""The page of the tasks that are due soon, and of those that are overdue."""

from __future__ import annotations

from litestar import Response, get
from msgspec import UNSET, Struct

from leaseq.operations.due import DueTask
from leaseq.operations.why.wording import fields_of
from leaseq_api.fleet import read_due_of
from leaseq_api.security.principal import principal_of
from leaseq_api.service import Injected
from leaseq_api.ui.charts import BAR, BARS_HEIGHT, GAP, bars
from leaseq_api.ui.page import AnyRequest, page
from leaseq_api.ui.redactor import Masks


class Row(Struct, frozen=True, kw_only=True):
    """One task, with the error of its last attempt in words."""

    task: DueTask
    error: str


@get("/due", scope="read")
async def show_due(request: AnyRequest, service: Injected) -> Response[str]:
    """Show the page of the tasks that are due within an hour."""
    due = await read_due_of(service, request)
    counts = [minute.count for minute in due.minutes or ()]
    overview = await service.overview.read(principal_of(request.scope))
    failed = [task.task_id for task in due.tasks if task.error]
    tenant = principal_of(request.scope).tenant
    masks = await service.redactor.masks_of(failed, tenant=tenant)
    values = {
        "due": due,
        "bars": list(zip(bars(counts), due.minutes or (), strict=True)),
        "most": max((count or 0 for count in counts), default=0),
        "width": len(counts) * (BAR + GAP),
        "height": int(BARS_HEIGHT),
        "rows": [Row(task=task, error=_error_of(task, masks)) for task in due.tasks],
        "reapers": overview.fleet.reapers,
    }
    return await page(request, service, "due.html", title="Due", values=values)


def _error_of(task: DueTask, masks: Masks) -> str:
    if task.error is None or task.error is UNSET:
        return ""
    masked = masks.of(task.task_id).json(bytes(task.error))
    error = fields_of(masked)
    message = str(error.get("message", ""))
    return (
        f"{error.get('type') or error.get('code', '')}: {message}"
        if message
        else str(error.get("code", ""))
    )


HANDLERS = (show_due,)

__all__ = ["HANDLERS"]
