"""Read the forms of the dashboard.

A form is a POST of `application/x-www-form-urlencoded`, with the fields that its page has and no
others. It carries `operation_id`, an id that the page made, so that a double click, a reload or a
proxy that repeats the request does it once.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import parse_qsl
from uuid import uuid4

from leaseq.codec import is_task_id
from leaseq_api.refused import Refused
from leaseq_api.ui.page import AnyRequest

OPERATION_ID = "operation_id"
MEDIA_TYPE = "application/x-www-form-urlencoded"
MOST_FIELDS = 50


async def read_form(request: AnyRequest, fields: Collection[str]) -> dict[str, str]:
    """The fields of a form, among these. A missing one is left out. Raises `Refused`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != MEDIA_TYPE:
        raise Refused("media_type_unsupported", f"a form of the dashboard is {MEDIA_TYPE}")
    try:
        pairs = parse_qsl(
            (await request.body()).decode("ascii"),
            keep_blank_values=True,
            strict_parsing=False,
            errors="strict",
            max_num_fields=MOST_FIELDS,
        )
    except ValueError:
        raise Refused("parameter_invalid", "the form is not encoded as UTF-8") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if name not in fields or name in found:
            raise Refused(
                "parameter_invalid",
                f"the form has a field {name[:100]!r} too many: load its page again",
            )
        found[name] = value.replace("\r\n", "\n")
    return found


def operation_of(form: dict[str, str]) -> str:
    """The id of the operation that a form asks for. Raises `Refused`."""
    operation_id = form.get(OPERATION_ID, "").lower()
    if not is_task_id(operation_id):
        raise Refused("parameter_invalid", "the form has no operation_id: load its page again")
    return operation_id


def new_operation_id() -> str:
    """The hidden id of a form."""
    return str(uuid4())


__all__ = ["MEDIA_TYPE", "OPERATION_ID", "new_operation_id", "operation_of", "read_form"]
