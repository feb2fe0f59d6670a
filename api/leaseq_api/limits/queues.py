"""The routes that show the lines of a queue, and give it a limit or make it fair.

All tenants share the names of queues, so a change needs a key without a tenant. A key that is bound to
a tenant sees the numbers of its own tasks.
"""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, Response, Router, get, put

from leaseq.limits import QueueRule
from leaseq.operations.queue_operator import QueueOperator
from leaseq_api import parameters as given
from leaseq_api.body import decode_json
from leaseq_api.limits.schemas import QueueBody, QueueLineView
from leaseq_api.limits.views import line_view
from leaseq_api.openapi import api_codes, change_codes
from leaseq_api.security.principal import principal_of, require_unbound
from leaseq_api.service import Injected, Service

AnyRequest = Request[Any, Any, Any]
# Tenants of one queue, or keys of its limit, that are shown.
MOST_LINES = 50

_queue_body = msgspec.json.Decoder(QueueBody)


@get("/{queue:str}", scope="read", codes=api_codes("lists_busy"))
async def show_queue(
    request: AnyRequest, service: Injected, queue: given.QueueName
) -> Response[QueueLineView]:
    """Show the limit of a queue, or whether it is fair, with the longest lines there."""
    tenant = principal_of(request.scope).tenant
    return Response(await _line(service, given.check_queue_name(queue), tenant=tenant))


@put(
    "/{queue:str}",
    scope="operate",
    body=QueueBody,
    codes=change_codes(
        *("limit_invalid", "limit_not_found", "json_invalid", "media_type_unsupported"),
        "lists_busy",
    ),
)
async def put_queue(
    request: AnyRequest, service: Injected, queue: given.QueueName
) -> Response[QueueLineView]:
    """Give a queue a limit that its tasks take, make it fair between tenants, or make it plain."""
    require_unbound(request.scope)
    name, headers = given.check_queue_name(queue), dict(request.scope["headers"])
    body = decode_json(await request.body(), headers, _queue_body, misfit="limit_invalid")
    operator = QueueOperator(service.operator_of(request.scope), service.engine)
    await operator.put(QueueRule(queue=name, limit=body.limit, fair=body.fair))
    return Response(await _line(service, name, tenant=None))


async def _line(service: Service, queue: str, *, tenant: str | None) -> QueueLineView:
    engine = service.engine
    async with service.lists.turn():
        rule = await engine.queue_limits.find(queue)
        if rule is None:
            return line_view(QueueRule(queue=queue), None, [])
        limit = await engine.limits.find(rule.limit, tenant=tenant)
        keys = await engine.limits.list_keys(rule.limit, tenant=tenant, limit=MOST_LINES)
    return line_view(rule, limit, keys)


router = Router(
    "/api/queues",
    route_handlers=[show_queue, put_queue],
    before_request=given.check_query,
    tags=["operate"],
)

__all__ = ["router"]
