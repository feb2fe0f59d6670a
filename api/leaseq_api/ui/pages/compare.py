"""The page that compares two attempts, of one task or of two."""

from __future__ import annotations

import re
from datetime import datetime

from litestar import Response, get
from msgspec import Struct

from leaseq.model import AttemptRecord, Task
from leaseq.operations.life.facts import LifeFacts
from leaseq.operations.why.wording import error_line, fields_of
from leaseq_api import parameters as given
from leaseq_api.refused import Refused
from leaseq_api.security.principal import may_read_contents
from leaseq_api.service import Injected, Service
from leaseq_api.ui.contents import compared
from leaseq_api.ui.page import AnyRequest, page
from leaseq_api.ui.pages.task import masked_life

# N of this task, or ID/N of another one.
_CHOICE = re.compile(r"(?:(?P<task>[0-9a-fA-F-]{36})/)?(?P<attempt>[0-9]{1,9})")


class Side(Struct, frozen=True, kw_only=True):
    """One of the two attempts. An attempt that succeeded, or runs, has no record."""

    task: Task
    attempt: int
    outcome: str
    began: datetime | None
    waited: float | None
    ran: float | None
    worker: str
    host: str
    version: str
    error: str
    traceback: str


@get("/tasks/{task_id:str}/compare", scope="read", query=("a", "b"))
async def compare(request: AnyRequest, service: Injected, task_id: given.TaskId) -> Response[str]:
    """Show two attempts side by side."""
    task_id = given.check_task_id(task_id)
    await service.tasks_of(request.scope).find(task_id)
    chosen = _chosen(request)
    sides = []
    for each in chosen:
        found = _CHOICE.fullmatch(each)
        if found is None:
            raise Refused("parameter_invalid", f"{each[:100]!r} is no attempt: send N, or ID/N")
        of = given.check_task_id(found["task"]) if found["task"] else task_id
        sides.append(await _side(request, service, of, int(found["attempt"])))
    values = {
        "task_id": task_id,
        "sides": sides,
        "contents": may_read_contents(request.scope),
        "differences": compared(sides[0].traceback, sides[1].traceback) if len(sides) == 2 else [],
    }
    title = f"Compare attempts of {task_id[:8]}"
    return await page(request, service, "compare.html", title=title, values=values)


def _chosen(request: AnyRequest) -> list[str]:
    """The two attempts of the address."""
    given_ones = [request.query_params.get(name, "").strip() for name in ("a", "b")]
    return [each for each in given_ones if each]


async def _side(request: AnyRequest, service: Service, task_id: str, number: int) -> Side:
    facts, _ = await masked_life(service, request.scope, task_id)
    task = facts.task
    for place, record in enumerate(facts.attempts):
        if record.attempt <= number <= record.last:
            before = facts.attempts[place - 1].finished_at if place else task.created_at
            return _of_record(facts, record, number, before)
    if number != task.attempt or not number or task.started_at is None:
        raise Refused("not_found", f"task {task_id} has no attempt {number}")
    ended = task.finished_at
    return Side(
        task=task,
        attempt=number,
        outcome="runs" if ended is None else f"ended in {task.state}",
        began=task.started_at,
        waited=None,
        ran=None if ended is None else (ended - task.started_at).total_seconds(),
        worker=task.worker_id or "",
        host=_host(facts, task.worker_id or "")[0],
        version=_host(facts, task.worker_id or "")[1],
        error="",
        traceback="",
    )


def _of_record(facts: LifeFacts, record: AttemptRecord, number: int, before: datetime) -> Side:
    host, version = _host(facts, record.worker_id)
    return Side(
        task=facts.task,
        attempt=number,
        outcome=record.outcome.value.replace("_", " "),
        began=record.started_at,
        waited=max((record.started_at - before).total_seconds(), 0.0),
        ran=(record.finished_at - record.started_at).total_seconds(),
        worker=record.worker_id,
        host=host,
        version=version,
        error=error_line(record.error)[:500],
        traceback=str(fields_of(record.error).get("traceback") or ""),
    )


def _host(facts: LifeFacts, worker_id: str) -> tuple[str, str]:
    worker = facts.workers.get(worker_id)
    return (worker.host, worker.version) if worker is not None else ("", "")


HANDLERS = (compare,)

__all__ = ["HANDLERS"]
