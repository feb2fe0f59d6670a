"""The page of one task: its state, why, its life, its attempts and its contents."""

from __future__ import annotations

import json
import shlex
from typing import Annotated, Any

from litestar import Response, get
from litestar.params import PathParameter
from litestar.types import Scope
from msgspec import Struct

from leaseq.model import AttemptRecord, State, Task
from leaseq.operations.life.facts import LifeFacts
from leaseq.operations.life.history import summary_line, task_history
from leaseq.operations.life.lanes import life_of
from leaseq.operations.life.picture import draw_life
from leaseq.operations.seen import Seen
from leaseq.operations.why.answer import Why
from leaseq.operations.why.explain import explain
from leaseq.operations.why.facts import of_one_tenant, without_contents
from leaseq_api import parameters as given
from leaseq_api.life import life_facts
from leaseq_api.refused import Refused
from leaseq_api.security.principal import check_scope, may_read_contents, principal_of
from leaseq_api.service import Injected, Service
from leaseq_api.ui.answer import html
from leaseq_api.ui.contents import ShownError, shown, shown_error
from leaseq_api.ui.page import AnyRequest, page
from leaseq_api.ui.redactor import MaskedTask, mask_facts

# Attempts with their errors on the page; the API lists all.
MOST_ATTEMPTS = 50
PARTS = ("payload", "result", "progress", "error")

Part = Annotated[str, PathParameter(description="The value: payload, result, progress or error")]


class ShownAttempt(Struct, frozen=True):
    """An attempt on the page."""

    record: AttemptRecord
    host: str
    error: ShownError | None


@get("/tasks/{task_id:str}", scope="read")
async def show_task(request: AnyRequest, service: Injected, task_id: given.TaskId) -> Response[str]:
    """Show the page of one task."""
    task_id = given.check_task_id(task_id)
    facts, masked = await masked_life(service, request.scope, task_id)
    why = await _explain(request, service, task_id, masked)
    contents = may_read_contents(request.scope)
    values = _values(facts, why, contents=contents) | {"masked": masked.count if contents else 0}
    title = f"{facts.task.type} {task_id[:8]}"
    return await page(request, service, "task.html", title=title, values=values)


@get("/tasks/{task_id:str}/download/{part:str}", scope="payloads")
async def download(
    request: AnyRequest, service: Injected, task_id: given.TaskId, part: Part
) -> Response[bytes]:
    """Send a whole value of a task as a file: byte for byte where nothing in it is masked."""
    check_scope(request.scope, "read")
    task_id = given.check_task_id(task_id)
    task = await service.tasks_of(request.scope).find(task_id)
    masked = await service.redactor.mask_task(task)
    return as_file(masked.task, part)


def as_file(task: Task, part: str) -> Response[bytes]:
    """A value of a task as a file. Raises `Refused`."""
    raw = getattr(task, part) if part in PARTS else None
    if raw is None:
        raise Refused("not_found", "this task has no such value")
    name = f"{task.task_id}-{part}.json"
    answer = html("")
    headers = dict(answer.headers) | {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(raw, media_type="application/json", headers=headers)


async def masked_life(service: Service, scope: Scope, task_id: str) -> tuple[LifeFacts, MaskedTask]:
    """The facts about a task that this request may see, without the values that are masked."""
    return await service.redactor.mask_life(await life_facts(service, scope, task_id))


async def _explain(request: AnyRequest, service: Service, task_id: str, masked: MaskedTask) -> Why:
    principal = principal_of(request.scope)
    reader = service.engine.fact_reader(service.lists)
    facts = await reader.read(
        task_id, tenant=principal.tenant, key=None, key_tenant=principal.submits_to
    )
    if principal.tenant is not None:
        facts = of_one_tenant(facts)
    if not may_read_contents(request.scope):
        return explain(without_contents(facts))
    return explain(mask_facts(facts, masked.mask))


def shown_attempts(facts: LifeFacts) -> list[ShownAttempt]:
    """The newest attempts with their errors, newest first."""
    return [
        ShownAttempt(
            record,
            facts.workers[record.worker_id].host if record.worker_id in facts.workers else "",
            shown_error(record.error),
        )
        for record in reversed(facts.attempts[-MOST_ATTEMPTS:])
    ]


def _values(facts: LifeFacts, why: Why, *, contents: bool) -> dict[str, Any]:
    task, attempts = facts.task, shown_attempts(facts)
    return {
        "task": task,
        "summary": summary_line(task),
        "why": why,
        "at": facts.now,
        "picture": draw_life(life_of(facts)),
        "earlier": life_of(facts).earlier,
        "history": task_history(task, facts.attempts, facts),
        "attempts": attempts,
        "older_attempts": len(facts.attempts) - len(attempts),
        "contents": contents,
        "parts": [
            (name, value) for name in PARTS if (value := shown(getattr(task, name))) is not None
        ],
        "replay_of": facts.replay_of,
        "replayed_as": facts.replayed_as,
        "seen": str(Seen(task.state, task.attempt)),
        "can_cancel": task.finished_at is None,
        "can_redrive": task.state in (State.FAILED, State.CANCELLED)
        and task.erased_at is None
        and task.key_freed_at is None,
        "curl": as_curl(task) if contents else None,
        "python": as_python(task) if contents else None,
    }


def as_curl(task: Task) -> str | None:
    """The submission of a task like this one, for a shell. None: it was erased, or is too long."""
    if task.payload is None or len(task.payload) > 8000:
        return None
    payload = task.payload.decode()
    body = f'{{"type": {json.dumps(task.type)}, "queue": {json.dumps(task.queue)}, "payload": {payload}}}'
    return (
        "curl -X POST $LEASEQ_API/api/tasks -H 'Content-Type: application/json' "
        f"-H 'Authorization: Bearer '$LEASEQ_API_KEY -d {shlex.quote(body)}"
    )


def as_python(task: Task) -> str | None:
    """The same for a Python program that speaks HTTP."""
    if task.payload is None or len(task.payload) > 8000:
        return None
    return f"client.submit({task.type!r}, msgspec.Raw({task.payload!r}), queue={task.queue!r})"


HANDLERS = (show_task, download)

__all__ = ["HANDLERS", "PARTS", "ShownAttempt", "as_file", "masked_life", "shown_attempts"]
