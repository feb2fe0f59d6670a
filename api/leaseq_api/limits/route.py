"""The routes by which operators list limits, make and change one, and delete one.

All tenants share the names of limits, so a change needs a key without a tenant. A key that is bound to
a tenant sees the numbers and the keys of its own tasks.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Request, Response, Router, delete, get, put
from litestar.params import PathParameter

from leaseq.limits import LimitBounds
from leaseq.model import NAME
from leaseq.operations.limit_operator import LimitOperator
from leaseq_api import parameters as given
from leaseq_api.body import decode_json
from leaseq_api.limits.schemas import (
    DeletedLimit,
    LimitBody,
    LimitDetail,
    LimitList,
)
from leaseq_api.limits.views import key_view, limit_view
from leaseq_api.openapi import api_codes, change_codes
from leaseq_api.refused import Refused
from leaseq_api.security.principal import principal_of, require_unbound
from leaseq_api.service import Injected, Service

AnyRequest = Request[Any, Any, Any]
# Keys of one limit that are shown.
MOST_KEYS = 50

LimitName = Annotated[
    str,
    PathParameter(
        description="The name of a limit",
        schema_extra={"min_length": 1, "max_length": 128, "pattern": "^[A-Za-z0-9_.-]+$"},
    ),
]
_limit_body = msgspec.json.Decoder(LimitBody)


@get("/", scope="read", query=("limit", "cursor"), codes=api_codes("lists_busy"))
async def list_limits(
    request: AnyRequest,
    service: Injected,
    limit: given.Limit = 50,
    cursor: given.NameCursor = "",
) -> Response[LimitList]:
    """List the limits by name, with the tasks that have a permit and those that wait for one."""
    limit, after = given.check_limit(limit), given.check_name_cursor(cursor)
    tenant = principal_of(request.scope).tenant
    async with service.lists.turn():
        found = await service.engine.limits.list_limits(after=after, limit=limit, tenant=tenant)
    more = found[-1].name if len(found) == limit else None
    return Response(LimitList(limits=[limit_view(each) for each in found], next_cursor=more))


@get("/{name:str}", scope="read", codes=api_codes("limit_not_found", "lists_busy"))
async def show_limit(
    request: AnyRequest, service: Injected, name: LimitName
) -> Response[LimitDetail]:
    """Show a limit, and those of its keys with the longest lines."""
    tenant = principal_of(request.scope).tenant
    return Response(await _detail(service, check_name(name), tenant=tenant))


@put(
    "/{name:str}",
    scope="operate",
    body=LimitBody,
    codes=change_codes("limit_invalid", "json_invalid", "media_type_unsupported", "lists_busy"),
)
async def put_limit(
    request: AnyRequest, service: Injected, name: LimitName
) -> Response[LimitDetail]:
    """Make a limit, or change it. It holds from the next admission on. A limit that is lowered ends
    no task."""
    require_unbound(request.scope)
    name, headers = check_name(name), dict(request.scope["headers"])
    body = decode_json(await request.body(), headers, _limit_body, misfit="limit_invalid")
    await _operator(request, service).put(bounds_of(name, body))
    return Response(await _detail(service, name, tenant=None))


@delete(
    "/{name:str}",
    scope="operate",
    status_code=200,
    codes=change_codes("limit_not_found", "limit_in_use"),
)
async def delete_limit(
    request: AnyRequest, service: Injected, name: LimitName
) -> Response[DeletedLimit]:
    """Delete a limit that no unfinished task has."""
    require_unbound(request.scope)
    await _operator(request, service).delete(check_name(name))
    return Response(DeletedLimit(name=name))


def bounds_of(name: str, body: LimitBody) -> LimitBounds:
    """The limit that a body describes."""
    fields = msgspec.structs.asdict(body)
    return LimitBounds(name=name, strict=fields.pop("order") is not None, **fields)


async def _detail(service: Service, name: str, *, tenant: str | None) -> LimitDetail:
    async with service.lists.turn():
        limit = await service.engine.limits.find(name, tenant=tenant)
        keys = await service.engine.limits.list_keys(name, tenant=tenant, limit=MOST_KEYS)
    return LimitDetail(limit=limit_view(limit), keys=[key_view(each) for each in keys])


def _operator(request: AnyRequest, service: Service) -> LimitOperator:
    return LimitOperator(service.operator_of(request.scope), service.engine)


def check_name(name: str) -> str:
    """Raise `Refused` for a path that cannot name a limit."""
    if not NAME.fullmatch(name):
        raise Refused(
            "not_found",
            "this is not a name of a limit: use 1 to 128 characters of A-Z a-z 0-9 _ . -",
        )
    return name


router = Router(
    "/api/limits",
    route_handlers=[list_limits, show_limit, put_limit, delete_limit],
    before_request=given.check_query,
    tags=["operate"],
)

__all__ = ["MOST_KEYS", "LimitName", "bounds_of", "check_name", "router"]
