"""The box Go to, which is on every page."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from litestar import Response, get

from leaseq.codec import is_task_id
from leaseq.model import NAME
from leaseq_api.security.principal import principal_of
from leaseq_api.service import Injected, Service
from leaseq_api.ui.answer import ROOT, see_other
from leaseq_api.ui.page import AnyRequest

KEY = "key:"
MOST_LISTED = 200


@get("/goto", scope="read", query=("q",))
async def go_to(request: AnyRequest, service: Injected) -> Response[str]:
    """Go to the page of a task, of a queue or of a worker; else to the tasks that match the text."""
    text = request.query_params.get("q", "").strip()
    if not text:
        return see_other(ROOT)
    return see_other(await _find(request, service, text))


async def _find(request: AnyRequest, service: Service, text: str) -> str:
    if is_task_id(text.lower()):
        return f"{ROOT}/tasks/{text.lower()}"
    if not text.startswith(KEY) and NAME.fullmatch(text):
        overview = await service.overview.read(principal_of(request.scope))
        if any(queue.name == text for queue in overview.queues):
            return f"{ROOT}/queues/{quote(text)}"
        if await _is_worker(service, text):
            return f"{ROOT}/workers/{quote(text)}"
    return f"{ROOT}/tasks?{urlencode({'q': text})}"


async def _is_worker(service: Service, text: str) -> bool:
    workers = await service.lists.list_workers(closed=True, limit=MOST_LISTED)
    return any(worker.worker_id == text for worker in workers)


HANDLERS = (go_to,)

__all__ = ["HANDLERS"]
