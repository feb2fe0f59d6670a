"""The page that chooses a task type, whose page has the form that submits a task."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Response, get

from leaseq.ledger.task_types import RegisteredType
from leaseq.model import NAME
from leaseq_api.security.principal import principal_of
from leaseq_api.service import Injected, Service
from leaseq_api.ui.answer import ROOT, see_other
from leaseq_api.ui.forms import new_operation_id
from leaseq_api.ui.page import AnyRequest, page, require_changes
from leaseq_api.ui.payload_form import fields_of
from leaseq_api.ui.wording import segment

MOST_TYPES = 100
# Values for the parameters of a handler, by the type in its schema.
_SAMPLES = {
    "string": "",
    "integer": 1,
    "number": 1.0,
    "boolean": False,
    "array": [],
    "object": {},
    "null": None,
}


@get("/submit", scope="submit", query=("type",))
async def choose_type(request: AnyRequest, service: Injected) -> Response[str]:
    """Show the types that a task may have, or go to the form of one."""
    require_changes(service)
    wanted = request.query_params.get("type", "")
    if NAME.fullmatch(wanted):
        return see_other(f"{ROOT}/types/{segment(wanted)}#submit")
    found = await service.lists.list_types(after="", limit=MOST_TYPES)
    values = {"types": [each.type for each in found], "more": len(found) == MOST_TYPES}
    return await page(request, service, "submit.html", title="Submit", values=values)


async def first_steps(request: AnyRequest, service: Service) -> dict[str, Any] | None:
    """The form of the first type, for an Overview without work. None: the key may not submit."""
    principal = principal_of(request.scope)
    if service.config.ui_read_only or not principal.may("submit"):
        return None
    types = await service.lists.list_types(after="", limit=1)
    detail = types[0] if types else None
    return {
        "detail": detail,
        "fields": [] if detail is None else fields_of(msgspec.json.decode(detail.payload_schema)),
        "payload": "{}" if detail is None else _sample_of(detail),
        "operation_id": new_operation_id(),
        "submits_to": principal.submits_to,
    }


def _sample_of(registered: RegisteredType) -> str:
    """A payload with a value for each parameter that the handler needs."""
    schema = msgspec.json.decode(registered.payload_schema)
    properties = schema.get("properties", {}) if isinstance(schema, dict) else {}
    sample = {
        name: _value_of(properties.get(name, {})) for name in schema.get("required", properties)
    }
    return msgspec.json.format(msgspec.json.encode(sample), indent=2).decode()


def _value_of(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return None
    if "default" in schema:
        return schema["default"]
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type")
    return _SAMPLES.get(str(kind[0] if isinstance(kind, list) else kind))


HANDLERS = (choose_type,)

__all__ = ["HANDLERS", "first_steps"]
