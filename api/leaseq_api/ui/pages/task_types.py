"""The pages of the task types, with the form that submits a task of one.

The form has a key in a hidden field. So a double click, a reload or a repeated request makes one
task, as a repeated submission with an idempotency key does everywhere.
"""

from __future__ import annotations

from contextlib import suppress

import msgspec
from litestar import Response, get, post
from msgspec import Struct
from msgspec.structs import replace

from leaseq.errors import IdempotencyKeyReused, LeaseqError, SubmissionInvalid
from leaseq.ledger.task_lists import LOOKED_AT
from leaseq.operations.statistics.read import Figures, Statistics, TypeFigures, Window
from leaseq.operations.submission import Request, accept
from leaseq_api.operate_schemas import TypeView
from leaseq_api.security.principal import principal_of
from leaseq_api.service import Injected, Service
from leaseq_api.statistics import StatisticsWindow
from leaseq_api.task_types import TypeName, read_type
from leaseq_api.ui.answer import ROOT, see_other
from leaseq_api.ui.charts import BAR, BARS_HEIGHT
from leaseq_api.ui.forms import OPERATION_ID, new_operation_id, operation_of, read_form
from leaseq_api.ui.page import AnyRequest, page, require_changes
from leaseq_api.ui.payload_form import Field, fields_of, filled, payload_of, with_error
from leaseq_api.ui.run_histogram import histogram, width_of
from leaseq_api.views import type_view

MOST_TYPES = 100
MOST_SLOW = 20
RUN_HOURS = 24
WINDOWS: tuple[Window, ...] = ("1h", "6h", "24h", "7d")


class Row(Struct, frozen=True, kw_only=True):
    """A type in one queue. `view` is None for a type that no worker has registered."""

    type: str
    queue: str
    view: TypeView | None
    figures: Figures | None
    run_share: float | None


class Attempted(Struct, frozen=True, kw_only=True):
    """A form whose submission was refused. `key`: the form is sent again with it; None: with a new
    one."""

    fields: list[Field]
    message: str = ""
    key: str | None = None
    status: int = 422


@get("/types", scope="read", query=("window",))
async def show_types(
    request: AnyRequest, service: Injected, window: StatisticsWindow = "1h"
) -> Response[str]:
    """Show the page of all task types."""
    found = await service.lists.list_types(after="", limit=MOST_TYPES)
    statistics = await _statistics(request, service, window)
    values = {
        "rows": rows_of([type_view(each) for each in found], statistics),
        "statistics": statistics,
        "bound": principal_of(request.scope).tenant is not None,
        "window": window,
        "windows": WINDOWS,
        "more": len(found) == MOST_TYPES,
    }
    return await page(request, service, "types.html", title="Types", values=values)


@get("/types/{type:str}", scope="read", query=("window",))
async def show_type(
    request: AnyRequest,
    service: Injected,
    type: TypeName,  # noqa: A002
    window: StatisticsWindow = "1h",
) -> Response[str]:
    """Show the page of one task type."""
    return await _type_page(request, service, type, window=window)


@post("/types/{type:str}/submit", scope="submit", status_code=200)
async def submit(
    request: AnyRequest,
    service: Injected,
    type: TypeName,  # noqa: A002
) -> Response[str]:
    """Submit a task of a type by its form. A payload that does not fit leads back to the form."""
    require_changes(service)
    detail = await read_type(service, type)
    fields = fields_of(msgspec.json.decode(bytes(detail.payload_schema)))
    form = await read_form(request, (OPERATION_ID, *(field.name for field in fields)))
    key = operation_of(form)
    fields = filled(fields, form)
    try:
        task_id = await _submit(request, service, type, payload_of(fields), key=f"page-{key}")
    except ValueError as error:
        name, message = error.args
        marked = [replace(each, error=message if each.name == name else "") for each in fields]
        refused = Attempted(fields=marked, key=key)
    except IdempotencyKeyReused:
        message = "This form was sent before, with other values. Check them, and submit again."
        refused = Attempted(fields=fields, message=message, status=409)
    except SubmissionInvalid as error:
        marked, message = with_error(fields, str(error))
        refused = Attempted(fields=marked, message=message, key=key)
    else:
        service.overview.forget()
        return see_other(f"{ROOT}/tasks/{task_id}")
    return await _type_page(request, service, type, attempted=refused)


async def _submit(
    request: AnyRequest, service: Service, name: str, payload: bytes, *, key: str
) -> str:
    known = service.types.known(name) or await service.types.look_again(name)
    wanted = Request(type=name, payload=payload, idempotency_key=key)
    tenant = principal_of(request.scope).submits_to
    submission = accept(wanted, service.config, tenant=tenant, known=known)
    tasks, standing = service.tasks_of(request.scope), service.quotas.of(tenant)
    if standing is None:
        return (await tasks.submit(submission)).task_id
    submitted, _ = await service.quotas.submit(standing, tasks, submission)
    return submitted.task_id


async def _type_page(
    request: AnyRequest,
    service: Service,
    name: str,
    *,
    window: Window = "1h",
    attempted: Attempted | None = None,
) -> Response[str]:
    """The page of a type; after a refused submission with its values, and the errors at them."""
    detail = await read_type(service, name)
    schema = msgspec.json.decode(bytes(detail.payload_schema))
    statistics = await _statistics(request, service, window, name)
    values = {
        "detail": detail,
        "schema": msgspec.json.format(bytes(detail.payload_schema), indent=2).decode(),
        "fields": fields_of(schema) if attempted is None else attempted.fields,
        "message": "" if attempted is None else attempted.message,
        "failed": attempted is not None,
        "operation_id": (attempted and attempted.key) or new_operation_id(),
        "statistics": statistics,
        "rows": rows_of([], statistics),
        "bound": principal_of(request.scope).tenant is not None,
        "submits_to": principal_of(request.scope).submits_to,
        "window": window,
        "windows": WINDOWS,
    }
    values |= await _runs(request, service, detail.type, detail.queue)
    status = 200 if attempted is None else attempted.status
    return await page(
        request, service, "type.html", title=f"Type {name}", values=values, status=status
    )


async def _runs(request: AnyRequest, service: Service, name: str, queue: str) -> dict[str, object]:
    """The histogram of the run times of a type, and its slowest tasks. None: not known."""
    tenant, runs, slowest = principal_of(request.scope).tenant, None, None
    with suppress(LeaseqError):
        slowest = await service.lists.list_slowest(name, tenant=tenant, limit=MOST_SLOW)
        if tenant is None:
            runs = histogram(await service.lists.sum_runs(queue, name, hours=RUN_HOURS))
    return {
        "runs": runs,
        "runs_width": width_of(len(runs or ())),
        "bar_width": BAR,
        "height": int(BARS_HEIGHT),
        "slowest": slowest,
        "looked_at": LOOKED_AT,
    }


async def _statistics(
    request: AnyRequest, service: Service, window: Window, name: str | None = None
) -> Statistics | None:
    """The statistics of a window. None: the request is bound to a tenant, and they are those of all
    tenants, or they could not be read."""
    if principal_of(request.scope).tenant is None:
        with suppress(LeaseqError):
            return await service.statistics.read(window, type_name=name)
    return None


def rows_of(types: list[TypeView], statistics: Statistics | None) -> list[Row]:
    """The types that ran longest first, then those that did not run, by name."""
    views = {each.type: each for each in types}
    counted = statistics.types if statistics is not None else []
    rows = [_counted(each, views.get(each.type)) for each in counted]
    ran = {each.type for each in counted}
    return rows + [
        Row(type=each.type, queue=each.queue, view=each, figures=None, run_share=None)
        for each in types
        if each.type not in ran
    ]


def _counted(found: TypeFigures, view: TypeView | None) -> Row:
    return Row(
        type=found.type,
        queue=found.queue,
        view=view,
        figures=found.figures,
        run_share=found.run_share,
    )


HANDLERS = (show_types, show_type, submit)

__all__ = ["HANDLERS", "rows_of"]
