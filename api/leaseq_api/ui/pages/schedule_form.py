"""The forms that create a schedule and change one, with the checks of the API."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Response, get, post
from msgspec.structs import asdict, replace

from leaseq.errors import LeaseqError, ScheduleInvalid, SubmissionInvalid
from leaseq.model import NAME, Priority
from leaseq.operations.operator import Repeated
from leaseq.operations.why.wording import fields_of
from leaseq.safe_text.redaction import Mask, Rules, redact, restore
from leaseq.schedules.schedule import Schedule
from leaseq_api.body import decode_json
from leaseq_api.refused import Refused
from leaseq_api.schedules.route import ScheduleName, check_name, define
from leaseq_api.schedules.schemas import ScheduleBody
from leaseq_api.security.principal import check_scope
from leaseq_api.service import Injected, Service
from leaseq_api.ui.answer import ROOT
from leaseq_api.ui.body_form import (
    JSON,
    body_of,
    fields_of_body,
    name_field,
    with_refusal,
    with_values,
)
from leaseq_api.ui.forms import OPERATION_ID, new_operation_id, operation_of, read_form
from leaseq_api.ui.page import AnyRequest, page, require_changes
from leaseq_api.ui.pages.schedules import done, operator_of, read_schedule, tenant_of
from leaseq_api.ui.payload_form import Field, filled
from leaseq_api.ui.wording import segment

NEW = f"{ROOT}/new-schedule"
_body = msgspec.json.Decoder(ScheduleBody)


@get("/new-schedule", scope="submit", query=("tenant",))
async def ask_new(request: AnyRequest, service: Injected) -> Response[str]:
    """Show the form of a new schedule."""
    require_changes(service)
    return await _form(request, service, _new_fields())


@post("/new-schedule", scope="submit", status_code=200, query=("tenant",))
async def create(request: AnyRequest, service: Injected) -> Response[str]:
    """Create a schedule, or show the form again with the error at its field."""
    require_changes(service)
    fields = _new_fields()
    form = await read_form(request, (OPERATION_ID, *(each.name for each in fields)))
    fields, name = filled(fields, form), form.get("name", "").strip()
    try:
        if not NAME.fullmatch(name):
            raise ScheduleInvalid(
                "the name of a schedule has 1 to 128 characters of A-Z a-z 0-9 _ . -", field="name"
            )
        await _put(request, service, name, body_of(fields), operation_of(form), new=True)
    except (Refused, LeaseqError, ValueError) as error:
        return await _refused(request, service, fields, error)
    return done(request, service, name, "put")


@get("/schedules/{schedule:str}/change", scope="submit", query=("tenant",))
async def ask_change(
    request: AnyRequest, service: Injected, schedule: ScheduleName
) -> Response[str]:
    """Show the form that changes a schedule, with its values."""
    found, rules = await _changed(request, service, schedule)
    payload = redact(found.payload, rules, numbered=True).raw
    values = _values_of(service, found) | {"payload": msgspec.Raw(payload)}
    fields = with_values(fields_of_body(ScheduleBody), values)
    return await _form(request, service, fields, found)


@post("/schedules/{schedule:str}/change", scope="submit", status_code=200, query=("tenant",))
async def change(request: AnyRequest, service: Injected, schedule: ScheduleName) -> Response[str]:
    """Change a schedule. Values of its payload that are masked in the form stay as they are."""
    found, rules = await _changed(request, service, schedule)
    fields = fields_of_body(ScheduleBody)
    form = await read_form(request, (OPERATION_ID, *(each.name for each in fields)))
    fields = filled(fields, form)
    try:
        payload = _payload_of(fields, found, rules)
        body = body_of(fields, None if payload is None else {"payload": msgspec.Raw(payload)})
        await _put(request, service, found.name, body, operation_of(form))
    except (Refused, LeaseqError, ValueError) as error:
        return await _refused(request, service, fields, error, found)
    return done(request, service, found.name, "put")


async def _changed(request: AnyRequest, service: Service, name: str) -> tuple[Schedule, Rules]:
    """The schedule that is changed, whose payload the form shows. Raises `Refused`."""
    require_changes(service)
    for scope in ("read", "payloads"):
        check_scope(request.scope, scope)
    found, _ = await read_schedule(request, service, check_name(name))
    return found, await service.redactor.rules_of(found.type)


async def _put(
    request: AnyRequest,
    service: Service,
    name: str,
    raw: bytes,
    request_id: str,
    *,
    new: bool = False,
) -> None:
    body = decode_json(raw, JSON, _body, misfit="schedule_invalid")
    definition = await define(service, name, body, tenant=tenant_of(request))
    operator = operator_of(request, service)
    try:
        await operator.put(definition, new=new, request_id=request_id)
    except Repeated:
        return


async def _refused(
    request: AnyRequest,
    service: Service,
    fields: list[Field],
    error: Refused | LeaseqError | ValueError,
    found: Schedule | None = None,
) -> Response[str]:
    """The form again, with the refusal at its field. Raises any other error."""
    if isinstance(error, LeaseqError) and not isinstance(
        error, ScheduleInvalid | SubmissionInvalid
    ):
        raise error
    marked, message = with_refusal(fields, error)
    if found is not None:
        rules = await service.redactor.rules_of(found.type)
        mask = Mask(redact(found.payload, rules).values)
        message = mask.text(message)
        marked = [replace(each, error=mask.text(each.error)) for each in marked]
    return await _form(request, service, marked, found, message=message, status=422)


async def _form(
    request: AnyRequest,
    service: Service,
    fields: list[Field],
    found: Schedule | None = None,
    *,
    message: str | None = None,
    status: int = 200,
) -> Response[str]:
    path = NEW if found is None else f"{ROOT}/schedules/{segment(found.name)}/change"
    named = request.query_params.get("tenant")
    values: dict[str, Any] = {
        "fields": fields,
        "schedule": found,
        "action": path if named is None else f"{path}?tenant={segment(named)}",
        "tenant": tenant_of(request),
        "failed": message is not None,
        "message": message or "",
        "operation_id": new_operation_id(),
    }
    title = "New schedule" if found is None else f"Change {found.name}"
    return await page(
        request, service, "schedule_form.html", title=title, values=values, status=status
    )


def _new_fields() -> list[Field]:
    return [name_field("1 to 128 characters of A-Z a-z 0-9 _ . -"), *fields_of_body(ScheduleBody)]


def _values_of(service: Service, found: Schedule) -> dict[str, Any]:
    """The values of a schedule for the fields of its body. The key is left out where the payload
    has it."""
    names = ScheduleBody.__struct_fields__
    values = {name: value for name, value in asdict(found).items() if name in names}
    values["priority"] = Priority(found.priority).name.lower()
    if found.cron is None:
        values["tz"] = None
    known = service.types.known(found.type)
    field = None if known is None else known.defaults.limit_key
    if field is not None and fields_of(found.payload).get(field) == found.concurrency_key:
        values["concurrency_key"] = None
    return values


def _payload_of(fields: list[Field], found: Schedule, rules: Rules) -> bytes | None:
    """The payload of the form, with the values that are masked in it. None: it is left out."""
    (field,) = (each for each in fields if each.key == "payload")
    if not field.value.strip():
        return None
    try:
        return restore(field.value.encode(), found.payload, rules)
    except ValueError as error:
        raise ValueError(field.name, str(error)) from None


HANDLERS = (ask_new, create, ask_change, change)

__all__ = ["HANDLERS"]
