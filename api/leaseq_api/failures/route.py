"""The routes that list failures by their cause, and acknowledge one.

The statements read groups that the reaper keeps, and never the tasks. A key that is bound to a
tenant sees the failures of its tasks only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, Router, delete, get, post
from litestar.params import PathParameter

from leaseq.errors import FailureNotFound
from leaseq.ledger.failures import FailureFilter, FailureGroup
from leaseq.model import NAME
from leaseq_api import parameters as given
from leaseq_api.failures.schemas import FailureDetail, FailurePage, FailureQuery, FailureView
from leaseq_api.failures.views import failure_detail, failure_page, failure_view, read_cursor
from leaseq_api.openapi import api_codes, change_codes
from leaseq_api.refused import Refused
from leaseq_api.security.principal import may_read_contents, principal_of
from leaseq_api.service import Injected, Service

AnyRequest = Request[Any, Any, Any]
TypeName = Annotated[
    str,
    PathParameter(
        description="The name of a task type",
        schema_extra={"min_length": 1, "max_length": 128, "pattern": "^[A-Za-z0-9_.-]+$"},
    ),
]
Fingerprint = Annotated[
    str,
    PathParameter(
        description="The fingerprint of a group of failures",
        schema_extra={"min_length": 1, "max_length": 128, "pattern": "^[A-Za-z0-9_.-]+$"},
    ),
]


@get(
    "/",
    scope="read",
    query=FailureQuery.__struct_fields__,
    codes=api_codes("lists_busy"),
)
async def list_failures(request: AnyRequest, service: Injected) -> Response[FailurePage]:
    """List the causes for which attempts have failed, the one that occurred last first, page by
    page.

    Attempts of one type with one fingerprint have one cause: the same code and class of exception,
    raised in the same place of the application.
    """
    wanted = to_filter(dict(request.query_params.multi_items()))
    page = await service.lists.list_failures(wanted, tenant=principal_of(request.scope).tenant)
    return Response(failure_page(page, contents=may_read_contents(request.scope)))


@get(
    "/{type_name:str}/{fingerprint:str}",
    scope="read",
    codes=api_codes("failure_not_found", "lists_busy"),
)
async def show_failure(
    request: AnyRequest, service: Injected, type_name: TypeName, fingerprint: Fingerprint
) -> Response[FailureDetail]:
    """Show one cause of failures, with its messages and its recent attempts."""
    tenant = principal_of(request.scope).tenant
    group = await find_failure(service, type_name, fingerprint, tenant=tenant)
    recent = await service.lists.list_failed_attempts(type_name, fingerprint, tenant=tenant)
    contents = may_read_contents(request.scope)
    return Response(failure_detail(group, recent, contents=contents))


@post(
    "/{type_name:str}/{fingerprint:str}/acknowledge",
    scope="operate",
    status_code=200,
    codes=change_codes("failure_not_found", "lists_busy"),
)
async def acknowledge(
    request: AnyRequest, service: Injected, type_name: TypeName, fingerprint: Fingerprint
) -> Response[FailureView]:
    """Acknowledge a cause of failures, until it occurs in a version of the application in which it
    is not known so far."""
    _check_names(type_name, fingerprint)
    await service.operator_of(request.scope).acknowledge(type_name, fingerprint)
    tenant = principal_of(request.scope).tenant
    group = await find_failure(service, type_name, fingerprint, tenant=tenant)
    return Response(failure_view(group, contents=may_read_contents(request.scope)))


@delete(
    "/{type_name:str}/{fingerprint:str}/acknowledge",
    scope="operate",
    status_code=200,
    codes=change_codes("failure_not_found", "lists_busy"),
)
async def unacknowledge(
    request: AnyRequest, service: Injected, type_name: TypeName, fingerprint: Fingerprint
) -> Response[FailureView]:
    """Take the acknowledgement of a cause of failures back."""
    _check_names(type_name, fingerprint)
    await service.operator_of(request.scope).unacknowledge(type_name, fingerprint)
    tenant = principal_of(request.scope).tenant
    group = await find_failure(service, type_name, fingerprint, tenant=tenant)
    return Response(failure_view(group, contents=may_read_contents(request.scope)))


async def find_failure(
    service: Service, type_name: str, fingerprint: str, *, tenant: str | None
) -> FailureGroup:
    """One group of failures. Raises `FailureNotFound`, and `Refused` for names that cannot be."""
    _check_names(type_name, fingerprint)
    group = await service.lists.find_failure(type_name, fingerprint, tenant=tenant)
    if group is None:
        raise FailureNotFound(f"no failure of type {type_name} has the fingerprint {fingerprint}")
    return group


def _check_names(type_name: str, fingerprint: str) -> None:
    """Raise `Refused` for a path that cannot name anything."""
    for name, text in (("type", type_name), ("fingerprint", fingerprint)):
        if not NAME.fullmatch(text):
            raise Refused(
                "not_found", f"this is not a {name}: use 1 to 128 characters of A-Z a-z 0-9 _ . -"
            )


def to_filter(given: Mapping[str, str]) -> FailureFilter:
    """The filter of a query. Raises `Refused`."""
    try:
        query = msgspec.convert(given, FailureQuery, strict=False)
    except msgspec.ValidationError as error:
        raise Refused("parameter_invalid", str(error).replace("$.", "")) from None
    for name, value in (("type", query.type), ("queue", query.queue)):
        if value is not msgspec.UNSET and not NAME.fullmatch(value):
            raise Refused(
                "parameter_invalid", f"{name} must be 1 to 128 characters of A-Z a-z 0-9 _ . -"
            )
    try:
        cursor = read_cursor(query.cursor) if query.cursor is not msgspec.UNSET else None
    except ValueError:
        raise Refused(
            "parameter_invalid", "cursor must be the next_cursor of the page before"
        ) from None
    return FailureFilter(
        type=query.type or None,
        queue=query.queue or None,
        state=query.state or None,
        window_seconds=query.window,
        cursor=cursor,
        limit=query.limit,
    )


router = Router(
    "/api/failures",
    route_handlers=[list_failures, show_failure, acknowledge, unacknowledge],
    before_request=given.check_query,
    tags=["operate"],
)

__all__ = ["Fingerprint", "TypeName", "find_failure", "router", "to_filter"]
