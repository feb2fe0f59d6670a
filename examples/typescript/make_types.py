"""Make the TypeScript types of the API from its OpenAPI document.

`make generated` writes `leaseq.ts`, and a test compares it with the document of the service. It knows
the part of OpenAPI that the document uses. openapi-typescript knows all of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from leaseq.config import Config
from leaseq_api.app import create_app
from leaseq_api.openapi import complete

TARGET = Path(__file__).with_name("leaseq.ts")
HEADER = """\
// The types of the HTTP API of leaseq. This file is made from the OpenAPI document by `make generated`.

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
"""

Tree = dict[str, Any]


def document() -> Tree:
    """The document of a service with default settings. Nothing connects."""
    app = create_app(Config())
    return complete(app, app.openapi_schema.to_schema(), key_required=False)


def types_of(document: Tree) -> str:
    """All schemas as types, and `Operations`, which has the requests and the answers."""
    schemas: Tree = document["components"]["schemas"]
    parts = [HEADER, *(_named(name, schemas[name]) for name in sorted(schemas))]
    operations = [
        _operation(operation, method.upper(), path)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method not in ("head", "options")
    ]
    parts.append("export interface Operations {\n" + "".join(operations) + "}\n")
    return "\n".join(parts)


def _named(name: str, schema: Tree) -> str:
    if schema.get("type") != "object":
        return f"export type {name} = {_type(schema)};\n"
    required = schema.get("required", [])
    fields = [
        f"  {each}{'' if each in required else '?'}: {_type(field)};\n"
        for each, field in schema["properties"].items()
    ]
    return f"export interface {name} {{\n{''.join(fields)}}}\n"


def _operation(operation: Tree, method: str, path: str) -> str:
    query = "".join(
        f" {each['name']}{'' if each.get('required') else '?'}: {_type(each['schema'])};"
        for each in operation.get("parameters", [])
        if each["in"] == "query"
    )
    body = _content(operation.get("requestBody", {}))
    answers = [
        _content(answer)
        for code, answer in operation["responses"].items()
        if int(code) < 300 and "content" in answer
    ]
    return (
        f"  {operation['operationId']}: {{\n"
        f'    method: "{method}";\n    path: "{path}";\n'
        f"    query: {{{query}{' ' if query else ''}}};\n"
        f"    body: {body or 'undefined'};\n    answer: {_either(answers) or 'undefined'};\n  }};\n"
    )


def _content(holder: Tree) -> str:
    """The type of a body: JSON where it may be JSON, else a stream of text."""
    content = holder.get("content", {})
    if "application/json" in content:
        return _type(content["application/json"]["schema"])
    return "ReadableStream<Uint8Array>" if content else ""


def _type(schema: Tree) -> str:
    if "$ref" in schema:
        found: str = schema["$ref"].rpartition("/")[2]
        return found
    if "anyOf" in schema:
        return _either([_type(each) for each in schema["anyOf"]])
    if "enum" in schema:
        return _either(
            [
                f'"{value}"' if isinstance(value, str) else str(value).lower()
                for value in schema["enum"]
            ]
        )
    match schema.get("type"):
        case "array":
            item = _type(schema["items"])
            return f"({item})[]" if "|" in item else f"{item}[]"
        case "integer" | "number":
            return "number"
        case "string" | "boolean" | "null" as plain:
            return str(plain)
    return "Json"


def _either(types: list[str]) -> str:
    return "Json" if "Json" in types else " | ".join(dict.fromkeys(types))


if __name__ == "__main__":
    TARGET.write_text(types_of(document()), encoding="utf-8")


__all__ = ["TARGET", "document", "types_of"]
