"""The page Submit: a form for one task of a registered type.

The form is the same submission as `POST /api/tasks`, with the same checks and quotas. Its key is the
id of the operation that the page has made, so two clicks make one task.
"""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Response, get, post
from litestar.types import Scope

from leaseq.errors import (
    IdempotencyInFlight,
    IdempotencyKeyReused,
    PayloadInvalid,
    SubmissionInvalid,
)
from leaseq.ledger.task_types import RegisteredType
from leaseq.model import NAME
from leaseq_api.problems import RawAnswer
from leaseq_api.refused import Refused
from leaseq_api.security.principal import principal_of
from leaseq_api.service import Injected, Service
from leaseq_api.tasks import answer_submission
from leaseq_api.ui.answer import ROOT, see_other
from leaseq_api.ui.forms import OPERATION_ID, new_operation_id, operation_of, read_form
from leaseq_api.ui.page import AnyRequest, page, require_changes

MOST_TYPES = 100
FIELDS = (OPERATION_ID, "type", "queue", "payload")
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
async def show_form(request: AnyRequest, service: Injected) -> Response[str]:
    """Show the form."""
    require_changes(service)
    wanted = request.query_params.get("type", "")
    return await page(
        request, service, "submit.html", title="Submit", values=await form_values(service, wanted)
    )


@post("/submit", scope="submit", status_code=200)
async def submit(request: AnyRequest, service: Injected) -> Response[str]:
    """Submit the task, and go to its page. A field that is not valid is named at its place."""
    require_changes(service)
    form = await read_form(request, FIELDS)
    operation_id = operation_of(form)
    try:
        answer = await _submit(service, request.scope, form, operation_id)
    except (SubmissionInvalid, PayloadInvalid, Refused, msgspec.DecodeError) as error:
        if isinstance(error, IdempotencyKeyReused | IdempotencyInFlight):
            raise
        values = await form_values(service, form.get("type", ""))
        values |= {
            "payload": form.get("payload", ""),
            "queue": form.get("queue", ""),
            "error": str(error),
            "pointer": getattr(error, "pointer", ""),
        }
        return await page(
            request, service, "submit.html", title="Submit", values=values, status=422
        )
    task_id = msgspec.json.decode(answer.body)["task_id"]
    service.overview.forget()
    return see_other(f"{ROOT}/tasks/{task_id}")


async def _submit(
    service: Service, scope: Scope, form: dict[str, str], operation_id: str
) -> RawAnswer:
    """Submit the fields of a form as the request that `POST /api/tasks` takes."""
    msgspec.json.decode(form.get("payload", ""))  # which names the position of a mistake
    body: dict[str, Any] = {
        "type": form.get("type", ""),
        "payload": msgspec.Raw(form.get("payload", "").encode()),
    }
    if queue := form.get("queue", "").strip():
        body["queue"] = queue
    content = msgspec.json.encode(body)
    headers = [
        (b"content-type", b"application/json"),
        (b"idempotency-key", f'"ui-{operation_id}"'.encode()),
    ]

    async def receive() -> Any:
        return {"type": "http.request", "body": content, "more_body": False}

    as_program: Any = {**scope, "headers": headers}
    return await answer_submission(service, as_program, receive)


async def form_values(service: Service, wanted: str = "") -> dict[str, Any]:
    """The values of the form: the registered types, and a payload that fits one of them."""
    types = await service.lists.list_types(after="", limit=MOST_TYPES)
    chosen = next((each for each in types if each.type == wanted), types[0] if types else None)
    named = chosen.type if chosen is not None else wanted if NAME.fullmatch(wanted) else ""
    return {
        "types": [each.type for each in types],
        "chosen": named,
        "queue": "",
        "payload": "{}" if chosen is None else _sample_of(chosen),
        "error": None,
        "pointer": "",
        "operation_id": new_operation_id(),
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


async def first_steps(request: AnyRequest, service: Service) -> dict[str, Any] | None:
    """The values of the form for an Overview without work. None: the key may not submit."""
    if service.config.ui_read_only or not principal_of(request.scope).may("submit"):
        return None
    return await form_values(service)


HANDLERS = (show_form, submit)

__all__ = ["HANDLERS", "first_steps", "form_values"]
