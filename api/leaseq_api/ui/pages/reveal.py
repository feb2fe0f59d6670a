"""The page that shows one task with the values that other pages mask.

It is the answer to a form, and has no address of its own: opening it is recorded in the audit log
before the values are read. It is not live, so one look is one row.
"""

from __future__ import annotations

from typing import Any

from litestar import Response, post

from leaseq_api import parameters as given
from leaseq_api.life import life_facts
from leaseq_api.security.principal import check_scope
from leaseq_api.service import Injected
from leaseq_api.ui.contents import shown
from leaseq_api.ui.forms import read_form
from leaseq_api.ui.page import AnyRequest, page, require_changes
from leaseq_api.ui.pages.task import PARTS, Part, as_file, shown_attempts


@post("/tasks/{task_id:str}/reveal", scope="payloads", status_code=200)
async def reveal_task(
    request: AnyRequest, service: Injected, task_id: given.TaskId
) -> Response[str]:
    """Show the values of a task as they are stored, and record who looked."""
    await _check(request, service)
    task = await service.operator_of(request.scope).reveal(given.check_task_id(task_id))
    facts = await life_facts(service, request.scope, task.task_id)
    values: dict[str, Any] = {
        "task": task,
        "parts": [
            (name, value) for name in PARTS if (value := shown(getattr(task, name))) is not None
        ],
        "attempts": shown_attempts(facts),
    }
    title = f"Values of {task.type} {task.task_id[:8]}"
    return await page(request, service, "task_revealed.html", title=title, values=values)


@post("/tasks/{task_id:str}/reveal/{part:str}", scope="payloads", status_code=200)
async def reveal_part(
    request: AnyRequest, service: Injected, task_id: given.TaskId, part: Part
) -> Response[bytes]:
    """Send a value of a task as a file, byte for byte, and record who took it."""
    await _check(request, service)
    part = part if part in PARTS else "none"
    task = await service.operator_of(request.scope).reveal(given.check_task_id(task_id), part=part)
    return as_file(task, part)


async def _check(request: AnyRequest, service: Injected) -> None:
    """Raise `Refused` unless this is the form of a task page, of a key that may read contents."""
    require_changes(service)
    check_scope(request.scope, "read")
    await read_form(request, ())


HANDLERS = (reveal_task, reveal_part)

__all__ = ["HANDLERS"]
