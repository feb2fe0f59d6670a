"""The box Go to, which is on every page.

It leads to a task by its id or the beginning of it, to the task of a key, to a queue, a worker, a
type, a limit or a schedule; else to the tasks that the text filters.
"""

from __future__ import annotations

import re
from contextlib import suppress
from urllib.parse import urlencode

from litestar import Response, get

from leaseq.codec import is_task_id
from leaseq.errors import LimitNotFound, ScheduleNotFound
from leaseq.ledger.task_lists import TaskFilter
from leaseq.model import NAME, State
from leaseq.operations.submission import KEY_MAX_LENGTH
from leaseq_api.fleet import WORKER_ID_LENGTH
from leaseq_api.security.principal import principal_of
from leaseq_api.service import Injected, Service
from leaseq_api.ui.answer import ROOT, see_other
from leaseq_api.ui.page import AnyRequest
from leaseq_api.ui.wording import segment

KEY = "key:"
# The ids of one minute begin with the same eight digits.
BEGINNING = re.compile(r"[0-9a-f]{8}[0-9a-f-]{0,27}")
LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"


@get("/goto", scope="read", query=("q",))
async def go_to(request: AnyRequest, service: Injected) -> Response[str]:
    """Go to the page of a task, a queue, a worker, a type, a limit or a schedule; else to the tasks
    that match the text."""
    text = request.query_params.get("q", "").strip()
    if not text:
        return see_other(ROOT)
    return see_other(await _find(request, service, text))


async def _find(request: AnyRequest, service: Service, text: str) -> str:
    if is_task_id(text.lower()):
        return f"{ROOT}/tasks/{text.lower()}"
    if text.startswith(KEY):
        found = await _of_key(request, service, text[len(KEY) :])
    else:
        found = await _of_name(request, service, text) or await _of_beginning(
            request, service, text.lower()
        )
    if found is None and text.upper() in set(State):
        found = f"{ROOT}/tasks?state={text.upper()}"
    return found or f"{ROOT}/tasks?{urlencode({'q': text})}"


async def _of_key(request: AnyRequest, service: Service, key: str) -> str | None:
    """The task of an idempotency key."""
    if not (0 < len(key) <= KEY_MAX_LENGTH and key.isascii() and key.isprintable()):
        return None
    wanted = TaskFilter(idempotency_key=key, limit=1)
    # A key belongs to a tenant.
    tenant = principal_of(request.scope).submits_to
    listing = await service.lists.list_tasks(wanted, tenant=tenant)
    return f"{ROOT}/tasks/{listing.tasks[0].task_id}" if listing.tasks else None


async def _of_name(request: AnyRequest, service: Service, text: str) -> str | None:
    """A queue, a worker or a type of this name."""
    if NAME.fullmatch(text):
        overview = await service.overview.read(principal_of(request.scope))
        if any(queue.name == text for queue in overview.queues):
            return f"{ROOT}/queues/{segment(text)}"
    may_be_worker = len(text) <= WORKER_ID_LENGTH and text.isprintable()
    if may_be_worker and await service.lists.find_worker(text) is not None:
        return f"{ROOT}/workers/{segment(text)}"
    if NAME.fullmatch(text) and await service.lists.find_type(text) is not None:
        return f"{ROOT}/types/{segment(text)}"
    return await _of_rule(request, service, text) if NAME.fullmatch(text) else None


async def _of_rule(request: AnyRequest, service: Service, name: str) -> str | None:
    """A limit or a schedule of this name."""
    principal = principal_of(request.scope)
    with suppress(LimitNotFound):
        await service.lists.find_limit(name, tenant=principal.tenant, keys=1, tasks=1)
        return f"{ROOT}/limits/{segment(name)}"
    with suppress(ScheduleNotFound):
        await service.lists.find_schedule(principal.submits_to, name)
        return f"{ROOT}/schedules/{segment(name)}"
    return None


async def _of_beginning(request: AnyRequest, service: Service, text: str) -> str | None:
    """The task whose id begins so; if there are several, the list from the newest of them on."""
    if not BEGINNING.fullmatch(text) or not LAST_ID.startswith(re.sub("[0-9a-f]", "f", text)):
        return None
    last = f"{text}{LAST_ID[len(text) :]}"
    listing = await service.lists.list_tasks(
        TaskFilter(cursor=last, limit=2), tenant=principal_of(request.scope).tenant
    )
    found = [task.task_id for task in listing.tasks if task.task_id.startswith(text)]
    if not found:
        return None
    if len(found) == 1:
        return f"{ROOT}/tasks/{found[0]}"
    return f"{ROOT}/tasks?{urlencode({'cursor': last})}"


HANDLERS = (go_to,)

__all__ = ["HANDLERS"]
