"""A form for the payload of a task, made from the JSON Schema of its type.

The fields of an object become fields of the form. A schema of another kind, and a field whose value
is no single text, number or choice, becomes a field for JSON. The form decides nothing: the payload
that it makes is checked as any other one is, and the error of that check is shown at its field.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

# Fields of more are one field for JSON.
MOST_FIELDS = 30
WHOLE = "payload"
PREFIX = "field."
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
# Where a message of msgspec names the field.
PATH = re.compile(r"\$\.([^\s.\[`]+)")
MISSING = re.compile(r"field `([^`]+)`")

Kind = Literal["text", "number", "choice", "switch", "json"]


class Field(Struct, frozen=True, kw_only=True):
    """One field of the form. `key` is that of the payload; None for a payload as a whole."""

    name: str
    key: str | None
    kind: Kind
    label: str
    hint: str = ""
    required: bool = False
    choices: list[str] = []
    value: str = ""
    error: str = ""


def fields_of(schema: Any) -> list[Field]:
    """The fields for a schema, with its defaults."""
    found = _resolve(schema, schema)
    names = found.get("properties")
    if found.get("type") != "object" or not isinstance(names, dict) or len(names) > MOST_FIELDS:
        return [Field(name=WHOLE, key=None, kind="json", label="Payload", hint="JSON", value="{}")]
    required = found.get("required") or []
    return [
        _field(str(name), _resolve(part, schema), required=name in required)
        for name, part in names.items()
    ]


def filled(fields: list[Field], form: Mapping[str, str]) -> list[Field]:
    """The same fields with the values of a form. A switch that is off is not sent."""
    return [replace(field, value=form.get(field.name, "")) for field in fields]


def payload_of(fields: list[Field]) -> bytes:
    """The payload of a filled form. A field that is empty and not required is left out. Raises
    `ValueError` with the name of a field whose JSON is none."""
    if len(fields) == 1 and fields[0].key is None:
        return _json(fields[0])
    values = {field.key: value for field, value in _values(fields)}
    return msgspec.json.encode(values)


def with_error(fields: list[Field], message: str) -> tuple[list[Field], str]:
    """The fields with the message at the one that it names, and the message where it names none."""
    named = PATH.search(message) or MISSING.search(message)
    key = named.group(1) if named is not None else None
    if not any(field.key == key for field in fields):
        return fields, message
    return [replace(f, error=message if f.key == key else "") for f in fields], ""


def _values(fields: list[Field]) -> Iterator[tuple[Field, Any]]:
    for field in fields:
        if field.kind == "switch":
            yield field, field.value != ""
        elif field.value == "" and not (field.required and field.kind == "text"):
            continue
        elif field.kind == "json":
            yield field, Raw(_json(field))
        elif field.kind == "number" and NUMBER.fullmatch(field.value.strip()):
            yield field, Raw(field.value.strip().encode())
        else:
            yield field, field.value


def _json(field: Field) -> bytes:
    text = field.value.encode()
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise ValueError(field.name, f"this is not JSON: {error}") from None
    return text


def _field(key: str, part: dict[str, Any], *, required: bool) -> Field:
    kind, choices = _kind(part)
    hint = "; ".join(_hints(part, kind))
    default = part.get("default")
    value = "" if default is None else default if isinstance(default, str) else _plain(default)
    if kind == "switch":
        value = "on" if default is True else ""
    return Field(
        name=PREFIX + key,
        key=key,
        kind=kind,
        label=str(part.get("title") or key),
        hint=hint,
        required=required,
        choices=choices,
        value=value,
    )


def _kind(part: dict[str, Any]) -> tuple[Kind, list[str]]:
    choices = part.get("enum")
    if isinstance(choices, list) and all(isinstance(each, str) for each in choices):
        return "choice", choices
    match part.get("type"):
        case "string":
            return "text", []
        case "integer" | "number":
            return "number", []
        case "boolean":
            return "switch", []
    return "json", []


def _hints(part: dict[str, Any], kind: Kind) -> Iterator[str]:
    if description := part.get("description"):
        yield str(description)
    if kind == "json":
        yield "JSON"
    elif kind == "number":
        yield "a whole number" if part.get("type") == "integer" else "a number"
    for name, words in (
        ("minimum", "at least"),
        ("exclusiveMinimum", "more than"),
        ("maximum", "at most"),
        ("exclusiveMaximum", "less than"),
        ("minLength", "characters: at least"),
        ("maxLength", "characters: at most"),
        ("pattern", "in the form"),
        ("format", "format"),
    ):
        if name in part:
            yield f"{words} {part[name]}"


def _resolve(part: Any, whole: Any) -> dict[str, Any]:
    """A part of a schema without references, and without the null of an optional field."""
    for _ in range(10):
        if not isinstance(part, dict):
            return {}
        reference, options = part.get("$ref"), part.get("anyOf")
        if isinstance(reference, str):
            rest = {name: value for name, value in part.items() if name != "$ref"}
            part = _find(reference, whole) | rest
        elif isinstance(options, list):
            some = [each for each in options if each != {"type": "null"}]
            if len(some) != 1 or not isinstance(some[0], dict):
                return {name: value for name, value in part.items() if name != "anyOf"}
            part = {name: value for name, value in part.items() if name != "anyOf"} | some[0]
        else:
            return part
    return {}


def _find(reference: str, whole: Any) -> dict[str, Any]:
    found = whole
    for step in reference.removeprefix("#/").split("/"):
        found = found.get(step) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _plain(value: Any) -> str:
    return msgspec.json.encode(value).decode()


__all__ = ["WHOLE", "Field", "fields_of", "filled", "payload_of", "with_error"]
