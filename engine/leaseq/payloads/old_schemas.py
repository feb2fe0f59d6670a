"""Build shapes from the JSON Schemas that workers of older releases registered.

Those workers register no shape. During an upgrade the newer API already checks payloads against
their schemas. A shape made here accepts every payload that their decoder accepts, and more: a part
that it cannot read, such as a union of several objects, is not checked.
"""

from __future__ import annotations

from typing import Any

import msgspec

from leaseq.payloads.patterns import require_linear

Node = dict[str, Any]

ANY: Node = {"kind": "any"}
_FORMATS: dict[str, Node] = {
    "date-time": {"kind": "datetime"},
    "date": {"kind": "date"},
    "time": {"kind": "time"},
    "duration": {"kind": "timedelta"},
    "uuid": {"kind": "uuid"},
    "decimal": {"kind": "decimal"},
}
_NUMBER = {
    "exclusiveMinimum": "gt",
    "minimum": "ge",
    "exclusiveMaximum": "lt",
    "maximum": "le",
    "multipleOf": "multiple_of",
}
_TEXT = {"minLength": "min_length", "maxLength": "max_length"}
_ITEMS = {"maxItems": "max_length"}  # for a set, the minimum counts distinct items
_PLAIN = {"null": "null", "boolean": "bool", "integer": "int", "number": "float", "string": "str"}


def shape_from(schema: bytes) -> bytes:
    """A shape for a JSON Schema that msgspec has written. Raises `ValueError` for any other
    schema."""
    try:
        return msgspec.json.encode(
            {"classes": _Reader(msgspec.json.decode(schema)).read()}, order="sorted"
        )
    except (LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a schema of msgspec: {type(error).__name__}") from error


class _Reader:
    """Turns the objects of a schema into classes. A class is read once, since it may contain
    itself."""

    def __init__(self, schema: Node) -> None:
        self._root = schema
        self._names: list[str] = []

    def read(self) -> list[Node]:
        self._number(self._root["$ref"])
        # The list grows while it is walked.
        return [self._class(self._definition(name)) for name in self._names]

    def _definition(self, ref: str) -> Node:
        found: Node = self._root["$defs"][ref.removeprefix("#/$defs/")]
        return found

    def _number(self, ref: str) -> int:
        if ref not in self._names:
            self._names.append(ref)
        return self._names.index(ref)

    def _class(self, schema: Node) -> Node:
        required = schema["required"]
        fields = [
            {"name": name, "required": name in required, "type": self._node(part)}
            for name, part in schema["properties"].items()
        ]
        closed = schema.get("additionalProperties") is False
        return {
            "class": "struct",
            "fields": fields,
            "hash": "value",
            "array": False,
            "closed": closed,
        }

    def _node(self, schema: Node) -> Node:
        if "$ref" in schema:
            found = self._definition(schema["$ref"])
            if "properties" in found:
                return {"kind": "class", "at": self._number(schema["$ref"])}
            return _enum(found) if "enum" in found else ANY
        if "enum" in schema:
            return _literal(schema)
        if "anyOf" in schema:
            return self._union([self._node(part) for part in schema["anyOf"]])
        return self._typed(schema)

    def _union(self, parts: list[Node]) -> Node:
        """An optional type. Most unions are optional types."""
        rest = [part for part in parts if part["kind"] != "null"]
        if len(rest) == 1 and rest[0] != ANY and len(parts) == 2:
            return {"kind": "union", "of": parts}
        return ANY

    def _typed(self, schema: Node) -> Node:
        kind = schema.get("type")
        if kind == "string" and "contentEncoding" in schema:
            return {"kind": "bytes"}
        if kind == "string" and schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]]
        if kind == "array" and isinstance(schema.get("items"), dict):
            return {"kind": "list", "of": self._node(schema["items"])} | _limits(schema, _ITEMS)
        if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
            return {
                "kind": "dict",
                "keys": {"kind": "str"},
                "of": self._node(schema["additionalProperties"]),
            }
        if kind not in _PLAIN:
            return ANY
        limits = _limits(schema, _TEXT if kind == "string" else _NUMBER)
        return {"kind": _PLAIN[kind]} | limits | (_pattern(schema) if kind == "string" else {})


def _enum(schema: Node) -> Node:
    """An enum class. An enum of integers may be a flag, which accepts sums of its members."""
    return (
        {"kind": "int"}
        if any(isinstance(value, int) for value in schema["enum"])
        else _literal(schema)
    )


def _literal(schema: Node) -> Node:
    values = schema["enum"]
    return (
        {"kind": "literal", "values": values}
        if all(isinstance(value, str | int | None) for value in values)
        else ANY
    )


def _limits(schema: Node, names: dict[str, str]) -> Node:
    return {name: schema[keyword] for keyword, name in names.items() if keyword in schema}


def _pattern(schema: Node) -> Node:
    """The pattern, if it takes linear time. Other patterns are not checked."""
    try:
        require_linear(schema["pattern"])
    except (KeyError, ValueError):
        return {}
    return {"pattern": schema["pattern"]}


__all__ = ["shape_from"]
