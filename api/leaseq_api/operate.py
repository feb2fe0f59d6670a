"""The routes by which operators list and control queues, workers and types.

The ledger knows the queues and workers; dispatch knows how many deliveries wait, and which of them
a worker holds. While Redis is away the lists are still answered, without its part. A key that is
bound to a tenant sees no numbers in which tasks of other tenants count.
"""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, Response, Router, get, post

from leaseq.dispatch.queue_lists import Depths
from leaseq_api import parameters as given
from leaseq_api.body import decode_json
from leaseq_api.openapi import api_codes, change_codes
from leaseq_api.operate_schemas import (
    PauseBody,
    PausedView,
    QueueList,
    TypeList,
    WorkerList,
)
from leaseq_api.security.principal import principal_of, require_unbound
from leaseq_api.service import Injected
from leaseq_api.views import paused_view, queue_view, type_view, worker_view

AnyRequest = Request[Any, Any, Any]

# A frozen Redis must not delay a list. The part of Redis that was not read in this time is omitted.
DEPTHS_SECONDS = 2.0

_pause_body = msgspec.json.Decoder(PauseBody)


@get("/queues", scope="read", query=("limit", "cursor"), codes=api_codes("lists_busy"))
async def list_queues(
    request: AnyRequest,
    service: Injected,
    limit: given.Limit = 50,
    cursor: given.NameCursor = "",
) -> Response[QueueList]:
    """List the queues by name, with the deliveries that wait in each, and who paused it and why."""
    limit, after = given.check_limit(limit), given.check_name_cursor(cursor)
    records = await service.lists.list_queues(after=after, limit=limit)
    whole = principal_of(request.scope).tenant is None
    depths: dict[str, Depths] = {}
    if whole:
        names = [record.name for record in records]
        depths = await service.engine.count_deliveries(names, seconds=DEPTHS_SECONDS)
    views = [queue_view(each, depths.get(each.name), whole=whole) for each in records]
    more = records[-1].name if len(records) == limit else None
    return Response(QueueList(queues=views, next_cursor=more))


@post(
    "/queues/{queue:str}/pause",
    scope="operate",
    status_code=200,
    body=PauseBody,
    body_required=False,
    codes=change_codes("queue_unknown", "json_invalid", "media_type_unsupported", "reason_invalid"),
)
async def pause(
    request: AnyRequest, service: Injected, queue: given.QueueName
) -> Response[PausedView]:
    """Pause a queue: no more of its tasks start. Running tasks continue, and submissions are still
    accepted."""
    require_unbound(request.scope)
    name, reason = given.check_queue_name(queue), await _read_reason(request)
    record = await service.operator_of(request.scope).pause(name, reason=reason)
    return Response(paused_view(record))


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
    return Response(paused_view(record))


@get("/workers", scope="read", query=("closed", "limit"), codes=api_codes("lists_busy"))
async def list_workers(
    request: AnyRequest,
    service: Injected,
    closed: given.Closed = False,
    limit: given.Limit = 50,
) -> Response[WorkerList]:
    """List the workers, newest first, with lease and held tasks; with `closed`, closed workers,
    too."""
    found = await service.lists.list_workers(closed=closed, limit=given.check_limit(limit))
    open_ones = [worker for worker in found if worker.closed_at is None]
    holdings = await service.engine.find_holdings(open_ones, seconds=DEPTHS_SECONDS) or {}
    whole = principal_of(request.scope).tenant is None
    views = [worker_view(each, holdings.get(each.worker_id), whole=whole) for each in found]
    return Response(WorkerList(workers=views))


@get("/types", scope="read", query=("limit", "cursor"), codes=api_codes("lists_busy"))
async def list_types(
    service: Injected, limit: given.Limit = 50, cursor: given.NameCursor = ""
) -> Response[TypeList]:
    """List the registered task types by name, with the schema of the payload of each."""
    limit, after = given.check_limit(limit), given.check_name_cursor(cursor)
    found = await service.lists.list_types(after=after, limit=limit)
    more = found[-1].type if len(found) == limit else None
    return Response(TypeList(types=[type_view(each) for each in found], next_cursor=more))


async def _read_reason(request: AnyRequest) -> str | None:
    """The reason of a pause. None: the request has no body, or no reason in it."""
    raw = await request.body()
    if not raw:
        return None
    headers = dict(request.scope["headers"])
    return decode_json(raw, headers, _pause_body, misfit="reason_invalid").reason


router = Router(
    "/api",
    route_handlers=[list_queues, pause, resume, list_workers, list_types],
    before_request=given.check_query,
    tags=["operate"],
)

__all__ = ["router"]
