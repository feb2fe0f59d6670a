"""The pages Limits and Limit, and the form that makes a limit or changes one.

All tenants share the names of limits, so a change needs a key without a tenant. A key that is bound to
a tenant sees the numbers, the lines and the tasks of its own.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
from litestar import Response, get, post

from leaseq.errors import LimitInvalid
from leaseq.ledger.limits import Limit, LimitKey, LimitTask
from leaseq.limits import KEY_MAX_LENGTH, check_bounds
from leaseq.model import NAME
from leaseq.operations.limit_operator import LimitOperator
from leaseq.operations.operator import Repeated
from leaseq_api.body import decode_json
from leaseq_api.limits.route import MOST_KEYS, LimitName, bounds_of, check_name
from leaseq_api.limits.schemas import LimitBody
from leaseq_api.limits.views import limit_view
from leaseq_api.refused import Refused
from leaseq_api.security.principal import principal_of, require_unbound
from leaseq_api.service import Injected, Service
from leaseq_api.ui.answer import ROOT, see_other
from leaseq_api.ui.body_form import (
    JSON,
    body_of,
    fields_of_body,
    name_field,
    with_refusal,
    with_values,
)
from leaseq_api.ui.forms import OPERATION_ID, new_operation_id, operation_of, read_form
from leaseq_api.ui.page import PART, AnyRequest, page, require_changes
from leaseq_api.ui.pages.schedules import tenant_of
from leaseq_api.ui.payload_form import Field, filled
from leaseq_api.ui.wording import segment

ROWS = 50
# Tasks with a permit, and tasks that wait, on the page of a limit.
MOST_TASKS = 50
NEW = f"{ROOT}/new-limit"
_body = msgspec.json.Decoder(LimitBody)


@get("/limits", scope="read", query=("cursor", "done"))
async def show_limits(request: AnyRequest, service: Injected) -> Response[str]:
    """Show the page of all limits."""
    after, principal = request.query_params.get("cursor", ""), principal_of(request.scope)
    if after:
        check_name(after)
    overview = await service.overview.read(principal)
    found = await service.lists.list_limits(after=after, limit=ROWS, tenant=principal.tenant)
    values = {
        "limits": found,
        "at": overview.at,
        "more": found[-1].name if len(found) == ROWS else None,
        "first": not after,
        "deleted": request.query_params.get("done") == "deleted",
        "unbound": principal.tenant is None,
    }
    return await page(request, service, "limits.html", title="Limits", values=values)


@get("/limits/{name:str}", scope="read", query=("tenant", "key", "done"))
async def show_limit(request: AnyRequest, service: Injected, name: LimitName) -> Response[str]:
    """Show the page of one limit."""
    return await _limit_page(request, service, check_name(name))


@post("/limits/{name:str}/change", scope="operate", status_code=200)
async def change(request: AnyRequest, service: Injected, name: LimitName) -> Response[str]:
    """Change a limit, or show its page with the error at the field of the form."""
    _check_change(request, service)
    name, fields = check_name(name), fields_of_body(LimitBody)
    form = await read_form(request, (OPERATION_ID, *(each.name for each in fields)))
    fields = filled(fields, form)
    try:
        await _put(request, service, name, fields, operation_of(form))
    except (Refused, LimitInvalid, ValueError) as error:
        return await _limit_page(request, service, name, refused=with_refusal(fields, error))
    return _done(service, name)


@get("/new-limit", scope="operate")
async def ask_new(request: AnyRequest, service: Injected) -> Response[str]:
    """Show the form of a new limit."""
    _check_change(request, service)
    return await _new_page(request, service, _new_fields())


@post("/new-limit", scope="operate", status_code=200)
async def create(request: AnyRequest, service: Injected) -> Response[str]:
    """Make a limit, or show the form again with the error at its field."""
    _check_change(request, service)
    fields = _new_fields()
    form = await read_form(request, (OPERATION_ID, *(each.name for each in fields)))
    fields, name = filled(fields, form), form.get("name", "").strip()
    try:
        if not NAME.fullmatch(name):
            raise ValueError("name", "use 1 to 128 characters of A-Z a-z 0-9 _ . -")
        await _put(request, service, name, fields, operation_of(form))
    except (Refused, LimitInvalid, ValueError) as error:
        return await _new_page(request, service, *with_refusal(fields, error), status=422)
    return _done(service, name)


@post("/limits/{name:str}/delete", scope="operate", status_code=200)
async def delete(request: AnyRequest, service: Injected, name: LimitName) -> Response[str]:
    """Delete a limit that no unfinished task has."""
    _check_change(request, service)
    name, form = check_name(name), await read_form(request, (OPERATION_ID,))
    with suppress(Repeated):
        await _operator(request, service).delete(name, request_id=operation_of(form))
    service.reads.forget()
    return see_other(f"{ROOT}/limits?done=deleted")


async def _read(
    request: AnyRequest, service: Service, name: str, key: str | None
) -> tuple[Limit, list[LimitKey], list[LimitTask]]:
    """A limit with its lines and tasks. The regions of an open page are read once for all who look."""
    tenant = principal_of(request.scope).tenant
    of_key = tenant if key is None else tenant_of(request)

    async def read() -> tuple[Limit, list[LimitKey], list[LimitTask]]:
        return await service.lists.find_limit(
            name, tenant=tenant, of_key=of_key, key=key, keys=MOST_KEYS, tasks=MOST_TASKS
        )

    if PART in request.query_params:
        return await service.reads.read(("limit", name, tenant, of_key, key), read)
    return await read()


async def _limit_page(
    request: AnyRequest,
    service: Service,
    name: str,
    *,
    refused: tuple[list[Field], str] | None = None,
) -> Response[str]:
    principal, key = principal_of(request.scope), request.query_params.get("key")
    if key is not None and (len(key) > KEY_MAX_LENGTH or not key.isprintable()):
        raise Refused("parameter_invalid", "key must be that of a task")
    overview = await service.overview.read(principal)
    limit, keys, tasks = await _read(request, service, name, key)
    current = with_values(fields_of_body(LimitBody), msgspec.structs.asdict(limit_view(limit)))
    fields, message = (current, "") if refused is None else refused
    values: dict[str, Any] = {
        "limit": limit,
        "at": overview.at,
        "keys": keys,
        "key": key,
        "admitted": [each for each in tasks if each.is_admitted],
        "waiting": [each for each in tasks if not each.is_admitted],
        "most_tasks": MOST_TASKS,
        "may_change": principal.tenant is None,
        "fields": fields,
        "failed": refused is not None,
        "message": message,
        "done": request.query_params.get("done") == "put",
        "operation_id": new_operation_id(),
    }
    status = 200 if refused is None else 422
    return await page(
        request, service, "limit.html", title=f"Limit {name}", values=values, status=status
    )


async def _new_page(
    request: AnyRequest,
    service: Service,
    fields: list[Field],
    message: str | None = None,
    *,
    status: int = 200,
) -> Response[str]:
    values = {
        "fields": fields,
        "failed": message is not None,
        "message": message,
        "operation_id": new_operation_id(),
    }
    return await page(
        request, service, "limit_form.html", title="New limit", values=values, status=status
    )


async def _put(
    request: AnyRequest, service: Service, name: str, fields: list[Field], request_id: str
) -> None:
    body = decode_json(body_of(fields), JSON, _body, misfit="limit_invalid")
    bounds = check_bounds(bounds_of(name, body))
    with suppress(Repeated):
        await _operator(request, service).put(bounds, request_id=request_id)


def _new_fields() -> list[Field]:
    return [name_field("1 to 128 characters of A-Z a-z 0-9 _ . -"), *fields_of_body(LimitBody)]


def _check_change(request: AnyRequest, service: Service) -> None:
    """Raise `Refused` unless the request may change what concerns all tenants."""
    require_changes(service)
    require_unbound(request.scope)


def _operator(request: AnyRequest, service: Service) -> LimitOperator:
    return LimitOperator(service.operator_of(request.scope), service.engine)


def _done(service: Service, name: str) -> Response[str]:
    service.reads.forget()
    return see_other(f"{ROOT}/limits/{segment(name)}?done=put")


HANDLERS = (show_limits, show_limit, change, ask_new, create, delete)

__all__ = ["HANDLERS"]
