"""A form for the body of a route of the API, made from the schema of that body.

The values of the form become the JSON that a program sends to the route, and pass the same checks.
So a page refuses what the API refuses, with the same sentence, at the field that it names.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from functools import cache
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from leaseq.errors import LeaseqError, PayloadInvalid
from leaseq_api.refused import Refused
from leaseq_api.ui.payload_form import PREFIX, Field, fields_of, payload_of
from leaseq_api.ui.wording import iso

# The headers of a body for `decode_json`.
JSON = {b"content-type": b"application/json"}
# The codes of refusals that are shown at a field.
SHOWN = ("json_invalid", "schedule_invalid", "limit_invalid")


@cache
def fields_of_body(kind: type[Struct]) -> list[Field]:
    """The fields for a body, all empty. An empty one has the default of the route."""
    return [replace(each, value="") for each in fields_of(msgspec.json.schema(kind))]


def name_field(hint: str) -> Field:
    """The field for the name of a thing that is made."""
    return Field(name="name", key="name", kind="text", label="name", hint=hint, required=True)


def with_values(fields: Collection[Field], values: Mapping[str, Any]) -> list[Field]:
    """The same fields with these values, by their keys."""
    return [replace(each, value=_text(values.get(each.key or ""))) for each in fields]


def body_of(fields: list[Field], fixed: Mapping[str, Any] | None = None) -> bytes:
    """The JSON of a filled form. Raises `ValueError` with the name of a field whose JSON is none."""
    raw = payload_of([each for each in fields if each.name.startswith(PREFIX)])
    if not fixed:
        return raw
    return msgspec.json.encode(msgspec.json.decode(raw, type=dict[str, msgspec.Raw]) | dict(fixed))


def with_refusal(
    fields: list[Field], error: Refused | LeaseqError | ValueError
) -> tuple[list[Field], str]:
    """The fields with the sentence of a refusal at the one that it names, and the sentence where it
    names none."""
    name, message = _place_of(fields, error)
    if not any(each.name == name for each in fields):
        return fields, message
    return [replace(each, error=message if each.name == name else "") for each in fields], ""


def _place_of(fields: list[Field], error: Refused | LeaseqError | ValueError) -> tuple[str, str]:
    if isinstance(error, Refused):
        if error.code not in SHOWN:
            raise error
        key, message = error.members.get("pointer", "").strip("/").split("/")[0], str(error)
    elif isinstance(error, PayloadInvalid):
        place = f"at {error.pointer}: " if error.pointer else ""
        key, message = "payload", f"{place}{error}"
    elif isinstance(error, LeaseqError):
        key, message = getattr(error, "field", ""), str(error)
        key = key or next((f.key or "" for f in fields if _names(message, f.key)), "")
    else:
        name, message = error.args
        return name, message
    return next((f.name for f in fields if f.key == key), ""), message


def _names(message: str, key: str | None) -> bool:
    """Whether a sentence begins with the name of a field, behind the name of a limit."""
    return key is not None and message.partition(": ")[2].startswith(f"{key} ")


def _text(value: Any) -> str:
    match value:
        case None | msgspec.UNSET:
            return ""
        case str():
            return value
        case datetime():
            return iso(value)
        case bytes() | msgspec.Raw():
            return msgspec.json.format(bytes(value), indent=2).decode()
        case dict() if not value:
            return ""
        case float() if value.is_integer():
            return str(int(value))
    return msgspec.json.encode(value).decode()


__all__ = ["JSON", "body_of", "fields_of_body", "name_field", "with_refusal", "with_values"]
