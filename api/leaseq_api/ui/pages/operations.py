"""The pages of operations: changes by people, and operations on many tasks.

A change of many tasks is previewed on a page, and starts only if the number of tasks is typed there.
The form carries the id of the preview, so a form that is sent twice starts one operation. The form
can be left open: the set is that of the preview.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec
from litestar import Response, get, post
from msgspec import Struct

from leaseq.codec import is_task_id, new_task_id
from leaseq.errors import OperationInvalid
from leaseq.labels import MAX_ASKED, parse_labels
from leaseq.ledger.bulk_operations import BulkFilter, BulkRequest, Preview
from leaseq.ledger.operation_log import OperationFilter
from leaseq.operations.bulk.bulk_operations import DEFAULT_RATE, checked_filter
from leaseq_api import parameters as given
from leaseq_api.bulk.schemas import ActionOnMany, BulkOperationView, bulk_view
from leaseq_api.refused import Refused
from leaseq_api.security.principal import principal_of
from leaseq_api.service import Injected
from leaseq_api.ui.answer import ROOT, see_other
from leaseq_api.ui.forms import read_form
from leaseq_api.ui.page import AnyRequest, page, require_changes
from leaseq_api.views import operation_page

PATH = f"{ROOT}/operations"
ROWS = 50
FIELDS = ("action", "queue", "type", "error", "running")
# Lists: repeated in an address, and JSON in a field of the form that starts the operation.
LISTS = ("label", "task")
ALL_FIELDS = (*FIELDS, *LISTS, "operation_id", "as_of", "rate", "reason", "count", "confirmed")


class Wanted(Struct, frozen=True, kw_only=True):
    """The fields of the form that asks for a preview."""

    action: ActionOnMany
    filter: BulkFilter


@get("/operations", scope="operate", query=("cursor",))
async def show_operations(request: AnyRequest, service: Injected) -> Response[str]:
    """Show the page of all changes, newest first."""
    cursor = request.query_params.get("cursor")
    if cursor is not None and not is_task_id(cursor):
        raise Refused("parameter_invalid", "cursor must be that of the page before")
    tenant = principal_of(request.scope).tenant
    wanted = OperationFilter(cursor=cursor, limit=ROWS)
    listing = await service.lists.list_operations(wanted, tenant=tenant)
    values = {"listing": operation_page(listing)}
    return await page(request, service, "operations.html", title="Operations", values=values)


@get("/operations/new", scope="operate", query=(*FIELDS, *LISTS))
async def preview_operation(request: AnyRequest, service: Injected) -> Response[str]:
    """Show the tasks that an operation would change, with the form that starts it."""
    given_lists = {name: request.query_params.getall(name, []) for name in LISTS}
    wanted, problem, found = _read_wanted(request.query_params, given_lists), None, None
    if wanted.filter != BulkFilter():
        try:
            tenant = principal_of(request.scope).tenant
            found = await service.lists.preview(wanted.action, wanted.filter, tenant=tenant)
        except OperationInvalid as error:
            problem = str(error)
    values = _form_values(wanted, found, problem=problem)
    return await page(request, service, "new_operation.html", title="Many tasks", values=values)


@post("/operations", scope="operate", status_code=200)
async def start_operation(request: AnyRequest, service: Injected) -> Response[str]:
    """Start an operation, or show its form again."""
    require_changes(service)
    form = await read_form(request, ALL_FIELDS)
    wanted = _read_wanted(form, {name: _read_list(form.get(name, "[]")) for name in LISTS})
    tenant = principal_of(request.scope).tenant
    try:
        chosen = checked_filter(wanted.action, wanted.filter)
        asked = _read_request(form, wanted, chosen)
        found = await service.lists.preview(wanted.action, chosen, tenant=tenant, as_of=asked.as_of)
        if form.get("confirmed", "").strip() != form.get("count"):
            raise OperationInvalid(f"type {form.get('count')} to confirm")
        record = await service.bulk_operator_of(request.scope).start(asked, found)
    except OperationInvalid as error:
        again = await service.lists.preview(wanted.action, wanted.filter, tenant=tenant)
        values = _form_values(wanted, again, problem=str(error), form=form)
        return await page(
            request, service, "new_operation.html", title="Many tasks", values=values, status=422
        )
    return see_other(f"{PATH}/{record.operation_id}")


@get("/operations/{operation_id:str}", scope="operate")
async def show_operation(
    request: AnyRequest, service: Injected, operation_id: given.OperationId
) -> Response[str]:
    """Show the page of one operation on many tasks."""
    operation_id = given.check_operation_id(operation_id)
    tenant = principal_of(request.scope).tenant
    view = bulk_view(await service.engine.bulk.find(operation_id, tenant=tenant))
    values = {"operation": view, "share": _share_of(view)}
    return await page(request, service, "operation.html", title="Operation", values=values)


@post("/operations/{operation_id:str}/stop", scope="operate", status_code=200)
async def stop_operation(
    request: AnyRequest, service: Injected, operation_id: given.OperationId
) -> Response[str]:
    """Stop an operation."""
    require_changes(service)
    operation_id = given.check_operation_id(operation_id)
    await service.bulk_operator_of(request.scope).stop(operation_id)
    return see_other(f"{PATH}/{operation_id}")


@post("/operations/{operation_id:str}/resume", scope="operate", status_code=200)
async def resume_operation(
    request: AnyRequest, service: Injected, operation_id: given.OperationId
) -> Response[str]:
    """Let an operation go on."""
    require_changes(service)
    operation_id = given.check_operation_id(operation_id)
    await service.bulk_operator_of(request.scope).resume(operation_id)
    return see_other(f"{PATH}/{operation_id}")


def _read_list(text: str) -> list[str]:
    try:
        return msgspec.json.decode(text, type=list[str])
    except msgspec.DecodeError:
        raise Refused(
            "parameter_invalid", "a list of the form is not valid: load its page again"
        ) from None


def _read_wanted(fields: Mapping[str, str], lists: Mapping[str, list[str]]) -> Wanted:
    try:
        action = msgspec.convert(fields.get("action", "redrive"), ActionOnMany)
    except msgspec.ValidationError:
        raise Refused("parameter_invalid", "action must be cancel or redrive") from None
    queue, type_name, fingerprint = (
        fields.get(name, "").strip() or None for name in ("queue", "type", "error")
    )
    running = fields.get("running") == "on"
    try:
        labels = parse_labels([text for text in lists["label"] if text.strip()], most=MAX_ASKED)
    except ValueError as error:
        raise Refused("parameter_invalid", str(error)) from None
    wanted = BulkFilter(
        ids=lists["task"] or None,
        queue=queue,
        type=type_name,
        error=fingerprint,
        running=running,
        labels=labels,
    )
    return Wanted(action=action, filter=wanted)


def _read_request(form: Mapping[str, str], wanted: Wanted, chosen: BulkFilter) -> BulkRequest:
    """The operation that a form asks for. Raises `OperationInvalid`."""
    try:
        as_of = msgspec.convert(form.get("as_of", ""), datetime)
        rate = float(form.get("rate", ""))
    except (ValueError, msgspec.ValidationError):
        raise OperationInvalid("rate must be a number of tasks a second") from None
    return BulkRequest(
        operation_id=form.get("operation_id", "").lower(),
        action=wanted.action,
        filter=chosen,
        rate=rate,
        reason=form.get("reason", "").strip() or None,
        as_of=as_of,
    )


def _form_values(
    wanted: Wanted,
    found: Preview | None,
    *,
    problem: str | None = None,
    form: Mapping[str, str] | None = None,
) -> dict[str, object]:
    sent = form or {}
    return {
        "wanted": wanted,
        "found": found,
        "labels": _json([f"{name}={value}" for name, value in wanted.filter.labels.items()]),
        "ids": _json(wanted.filter.ids or []),
        "problem": problem,
        "operation_id": new_task_id(),
        "rate": sent.get("rate") or f"{DEFAULT_RATE:g}",
        "reason": sent.get("reason", ""),
    }


def _json(texts: list[str]) -> str:
    return msgspec.json.encode(texts).decode()


def _share_of(view: BulkOperationView) -> float:
    """The width of the bar, in percent."""
    if view.state == "done":
        return 100.0
    return min(100.0 * (view.done + view.refused) / max(view.total, 1), 99.0)


# The fixed address comes before the one with a parameter.
HANDLERS = (
    show_operations,
    preview_operation,
    start_operation,
    show_operation,
    stop_operation,
    resume_operation,
)

__all__ = ["HANDLERS"]
