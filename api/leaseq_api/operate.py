"""The routes by which an operator lists and controls queues and workers.

The ledger knows the queues and workers; dispatch only knows how many deliveries wait. While Redis
is away the lists are still answered, without depths.
"""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, Router, get, post

from leaseq.model import QueueRecord
from leaseq_api import parameters as given
from leaseq_api.openapi import api_codes, change_codes
from leaseq_api.schemas import PausedView, QueueList, QueueView, WorkerList
from leaseq_api.security.principal import principal_of, require_unbound
from leaseq_api.service import Injected, Service
from leaseq_api.views import depths_view

AnyRequest = Request[Any, Any, Any]

# A frozen Redis must not delay the list of queues. Depths that were not read in this time are
# omitted.
DEPTHS_SECONDS = 2.0


@get("/queues", scope="read", codes=api_codes("lists_busy"))
async def list_queues(request: AnyRequest, service: Injected) -> Response[QueueList]:
    """List the queues, with the deliveries that wait in each. These are those of all tenants, so a
    request that is bound to a tenant gets null."""
    records = await service.lists.list_queues()
    if principal_of(request.scope).tenant is not None:
        views = [QueueView(name=each.name, paused=each.paused, depths=None) for each in records]
        return Response(QueueList(queues=views))
    return Response(QueueList(queues=await _with_depths(service, records)))


@post(
    "/queues/{queue:str}/pause",
    scope="operate",
    status_code=200,
    codes=change_codes("queue_unknown"),
)
async def pause(
    request: AnyRequest, service: Injected, queue: given.QueueName
) -> Response[PausedView]:
    """Pause a queue: no more of its tasks start. Running tasks continue, and submissions are still
    accepted."""
    require_unbound(request.scope)
    record = await service.operator_of(request.scope).pause(given.check_queue_name(queue))
    return Response(PausedView(name=record.name, paused=record.paused))


@post(
    "/queues/{queue:str}/resume",
    scope="operate",
    status_code=200,
    codes=change_codes(),
)
async def resume(
    request: AnyRequest, service: Injected, queue: given.QueueName
) -> Response[PausedView]:
    """Resume a queue."""
    require_unbound(request.scope)
    record = await service.operator_of(request.scope).resume(given.check_queue_name(queue))
    return Response(PausedView(name=record.name, paused=record.paused))


@get("/workers", scope="read", query=("closed", "limit"), codes=api_codes("lists_busy"))
async def list_workers(
    service: Injected, closed: given.Closed = False, limit: given.Limit = 50
) -> Response[WorkerList]:
    """List the workers, newest first; with `closed`, closed workers, too."""
    found = await service.lists.list_workers(closed=closed, limit=given.check_limit(limit))
    return Response(WorkerList(workers=found))


async def _with_depths(service: Service, records: list[QueueRecord]) -> list[QueueView]:
    found = await service.engine.count_deliveries(
        [record.name for record in records], seconds=DEPTHS_SECONDS
    )
    views = {name: depths_view(depths) for name, depths in found.items()}
    return [
        QueueView(name=record.name, paused=record.paused, depths=views.get(record.name))
        for record in records
    ]


router = Router(
    "/api",
    route_handlers=[list_queues, pause, resume, list_workers],
    before_request=given.check_query,
    tags=["operate"],
)

__all__ = ["router"]
