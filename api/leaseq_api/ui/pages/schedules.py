"""The pages Schedules and Schedule, with pause, resume, run and delete.

A key without a tenant sees the schedules of all tenants. The address of one names its tenant, where
that is not the one to which the key submits.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from zoneinfo import ZoneInfo

from litestar import Response, get, post
from msgspec import Struct

from leaseq.ledger.operation_log import Actor
from leaseq.model import NAME
from leaseq.operations.operator import Repeated
from leaseq.operations.schedule_operator import ScheduleOperator
from leaseq.schedules.read_timing import describe
from leaseq.schedules.schedule import Schedule, ScheduleRun
from leaseq_api.refused import Refused
from leaseq_api.schedules.route import ScheduleName, check_name
from leaseq_api.schedules.views import PREVIEWED
from leaseq_api.security.principal import may_read_contents, principal_of
from leaseq_api.service import Injected, Service
from leaseq_api.ui.answer import ROOT, see_other
from leaseq_api.ui.contents import shown
from leaseq_api.ui.forms import OPERATION_ID, new_operation_id, operation_of, read_form
from leaseq_api.ui.page import PART, AnyRequest, page, require_changes
from leaseq_api.ui.wording import segment

ROWS = 50
DONE = ("paused", "resumed", "run", "put")


class Row(Struct, frozen=True):
    """A schedule of the list."""

    schedule: Schedule
    words: str
    address: str


@get("/schedules", scope="read", query=("cursor", "done"))
async def show_schedules(request: AnyRequest, service: Injected) -> Response[str]:
    """Show the page of all schedules."""
    tenant, _, name = request.query_params.get("cursor", "").partition("/")
    if (tenant or name) and not (NAME.fullmatch(tenant) and NAME.fullmatch(name)):
        raise Refused("parameter_invalid", "cursor must be that of the page before")
    principal = principal_of(request.scope)
    found = await service.lists.list_schedules(
        tenant=principal.tenant, after=(tenant, name), limit=ROWS
    )
    last = found[-1] if len(found) == ROWS else None
    values = {
        "rows": [Row(each, describe(each.timing), address_of(request, each)) for each in found],
        "at": found[0].now if found else None,
        "more": None if last is None else f"{last.tenant}/{last.name}",
        "first": not name,
        "many_tenants": principal.tenant is None and len({each.tenant for each in found}) > 1,
        "deleted": request.query_params.get("done") == "deleted",
    }
    return await page(request, service, "schedules.html", title="Schedules", values=values)


@get("/schedules/{schedule:str}", scope="read", query=("tenant", "done"))
async def show_schedule(
    request: AnyRequest, service: Injected, schedule: ScheduleName
) -> Response[str]:
    """Show the page of one schedule."""
    found, runs = await read_schedule(request, service, check_name(schedule))
    payload = None
    # The payload is in no region that is fetched again.
    if may_read_contents(request.scope) and PART not in request.query_params:
        payload = shown(await service.redactor.mask_value(found.type, found.payload))
    done = request.query_params.get("done")
    zone = ZoneInfo(found.tz)
    values: dict[str, Any] = {
        "schedule": found,
        "words": describe(found.timing),
        "next_times": [(each, each.astimezone(zone)) for each in found.preview(PREVIEWED)],
        "runs": runs,
        "payload": payload,
        "path": f"{ROOT}/schedules/{segment(found.name)}",
        "query": _query(request, found.tenant),
        "done": done if done in DONE else None,
        "operation_id": new_operation_id(),
    }
    title = f"Schedule {found.name}"
    return await page(request, service, "schedule.html", title=title, values=values)


@post("/schedules/{schedule:str}/pause", scope="operate", status_code=200, query=("tenant",))
async def pause(request: AnyRequest, service: Injected, schedule: ScheduleName) -> Response[str]:
    """Pause a schedule."""
    name, request_id = check_name(schedule), await _check_change(request, service)
    with suppress(Repeated):
        operator = operator_of(request, service)
        await operator.pause(tenant_of(request), name, request_id=request_id)
    return done(request, service, name, "paused")


@post("/schedules/{schedule:str}/resume", scope="operate", status_code=200, query=("tenant",))
async def resume(request: AnyRequest, service: Injected, schedule: ScheduleName) -> Response[str]:
    """Resume a schedule."""
    name, request_id = check_name(schedule), await _check_change(request, service)
    with suppress(Repeated):
        operator = operator_of(request, service)
        await operator.resume(tenant_of(request), name, request_id=request_id)
    return done(request, service, name, "resumed")


@post("/schedules/{schedule:str}/run", scope="operate", status_code=200, query=("tenant",))
async def run(request: AnyRequest, service: Injected, schedule: ScheduleName) -> Response[str]:
    """Submit a task of a schedule now. A form that is sent twice makes one task."""
    name, request_id = check_name(schedule), await _check_change(request, service)
    with suppress(Repeated):
        operator = operator_of(request, service)
        await operator.run_now(tenant_of(request), name, request=request_id, request_id=request_id)
    return done(request, service, name, "run")


@post("/schedules/{schedule:str}/delete", scope="operate", status_code=200, query=("tenant",))
async def delete(request: AnyRequest, service: Injected, schedule: ScheduleName) -> Response[str]:
    """Delete a schedule; its tasks stay."""
    name, request_id = check_name(schedule), await _check_change(request, service)
    with suppress(Repeated):
        operator = operator_of(request, service)
        await operator.delete(tenant_of(request), name, request_id=request_id)
    service.reads.forget()
    return see_other(f"{ROOT}/schedules?done=deleted")


async def read_schedule(
    request: AnyRequest, service: Service, name: str
) -> tuple[Schedule, list[ScheduleRun]]:
    """A schedule and its runs. The regions of an open page are read once for all who look."""
    tenant = tenant_of(request)

    async def read() -> tuple[Schedule, list[ScheduleRun]]:
        return await service.lists.find_schedule(tenant, name)

    if PART in request.query_params:
        return await service.reads.read(("schedule", tenant, name), read)
    return await read()


def tenant_of(request: AnyRequest) -> str:
    """The tenant of the schedule that an address names. Raises `Refused`."""
    principal = principal_of(request.scope)
    named: str | None = request.query_params.get("tenant")
    if named is None or named == principal.tenant:
        return principal.submits_to
    if principal.tenant is not None:
        raise Refused("tenant_forbidden", "the key of this page is bound to another tenant")
    if not NAME.fullmatch(named):
        raise Refused("parameter_invalid", "tenant must be the name of a tenant")
    return named


def operator_of(request: AnyRequest, service: Service) -> ScheduleOperator:
    """The changes of schedules, recorded for the tenant that the address names."""
    principal = principal_of(request.scope)
    tenant = tenant_of(request) if "tenant" in request.query_params else principal.tenant
    actor = Actor(name=principal.name, key_id=principal.key_id, tenant=tenant)
    return ScheduleOperator(service.engine.as_operator(actor), service.engine.schedules)


def address_of(request: AnyRequest, schedule: Schedule) -> str:
    """The address of the page of a schedule."""
    return f"{ROOT}/schedules/{segment(schedule.name)}{_query(request, schedule.tenant)}"


def done(request: AnyRequest, service: Service, name: str, word: str) -> Response[str]:
    """Lead to the page of a schedule after a change, which it tells."""
    service.reads.forget()
    query = _query(request, tenant_of(request))
    return see_other(f"{ROOT}/schedules/{segment(name)}{query}{'&' if query else '?'}done={word}")


def _query(request: AnyRequest, tenant: str) -> str:
    own = principal_of(request.scope).submits_to
    return "" if tenant == own else f"?tenant={segment(tenant)}"


async def _check_change(request: AnyRequest, service: Service) -> str:
    """The id of the operation of a form that a button sends. Raises `Refused`."""
    require_changes(service)
    return operation_of(await read_form(request, (OPERATION_ID,)))


HANDLERS = (show_schedules, show_schedule, pause, resume, run, delete)

__all__ = ["HANDLERS", "done", "operator_of", "read_schedule", "tenant_of"]
