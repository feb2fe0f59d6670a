"""The route that lists the changes made through the API and the command line."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from litestar import Request, Response, Router, get
from msgspec import UNSET

from leaseq.codec import is_task_id
from leaseq.ledger.operation_log import OperationFilter
from leaseq_api import parameters as given
from leaseq_api.bulk.route import HANDLERS
from leaseq_api.openapi import api_codes
from leaseq_api.refused import Refused
from leaseq_api.schemas import OperationPage, OperationQuery
from leaseq_api.security.principal import principal_of
from leaseq_api.service import Injected
from leaseq_api.views import operation_page

# The id of a task, or the name of a queue, a key or a tenant.
_TARGET = re.compile(r"[!-~]{1,255}")


@get(
    "/operations",
    scope="operate",
    query=OperationQuery.__struct_fields__,
    codes=api_codes("lists_busy"),
)
async def list_operations(
    request: Request[Any, Any, Any], service: Injected
) -> Response[OperationPage]:
    """List the changes that were made through the API and the command line, newest first, page by
    page.

    A request that is bound to a tenant sees the changes by actors that were bound to it. A page comes
    from the next few thousand operations. If few of them match, it may have few or none, and a
    cursor to continue.
    """
    wanted = _read_filter(request)
    tenant = principal_of(request.scope).tenant
    return Response(operation_page(await service.lists.list_operations(wanted, tenant=tenant)))


def _read_filter(request: Request[Any, Any, Any]) -> OperationFilter:
    try:
        query = msgspec.convert(
            dict(request.query_params.multi_items()), OperationQuery, strict=False
        )
    except msgspec.ValidationError as error:
        raise Refused("parameter_invalid", str(error).replace("$.", "")) from None
    for name, value in (("target", query.target), ("key_id", query.key_id)):
        if value is not UNSET and not _TARGET.fullmatch(value):
            raise Refused(
                "parameter_invalid", f"{name} must be 1 to 255 printable ASCII characters"
            )
    if query.cursor is not UNSET and not is_task_id(query.cursor):
        raise Refused("parameter_invalid", "cursor must be the next_cursor of the page before")
    return OperationFilter(
        action=query.action or None,
        target=query.target or None,
        key_id=query.key_id or None,
        cursor=query.cursor or None,
        limit=query.limit,
    )


router = Router(
    "/api",
    route_handlers=[list_operations, *HANDLERS],
    before_request=given.check_query,
    tags=["operate"],
)

__all__ = ["router"]
