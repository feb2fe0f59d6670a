"""The examples of the OpenAPI document.

They are values of the structs that the service sends and receives, so each has every field and no
other. Each schema of a body has one, and each code of a problem. `add_examples` adds them.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec.structs
from msgspec import Struct

from leaseq_api.access_examples import ACCESS_EXAMPLES, ACCESS_PARAMETERS
from leaseq_api.bulk.examples import BULK_EXAMPLES, BULK_PARAMETERS
from leaseq_api.census_schemas import CENSUS_EXAMPLES
from leaseq_api.example_values import Examples
from leaseq_api.failures.examples import FAILURE_EXAMPLES, FAILURE_PARAMETERS
from leaseq_api.limits.examples import LIMIT_EXAMPLES
from leaseq_api.operate_examples import OPERATE_EXAMPLES
from leaseq_api.problem_kinds import KINDS
from leaseq_api.problems import PROBLEM_JSON, page_of
from leaseq_api.schedules.examples import SCHEDULE_EXAMPLES, SCHEDULE_PARAMETERS
from leaseq_api.schemas import Live, Ready
from leaseq_api.task_examples import TASK_EXAMPLES, TASK_PARAMETERS

Tree = dict[str, Any]

# By the name of the schema: name of the example, then what it shows, and the value.
_HEALTH: Examples = {
    "Live": {"live": ("The process answers", Live())},
    "Ready": {"ready": ("Redis is away, and tasks are accepted all the same", Ready(redis="away"))},
}
EXAMPLES: Examples = (
    _HEALTH
    | ACCESS_EXAMPLES
    | BULK_EXAMPLES
    | CENSUS_EXAMPLES
    | FAILURE_EXAMPLES
    | LIMIT_EXAMPLES
    | OPERATE_EXAMPLES
    | SCHEDULE_EXAMPLES
    | TASK_EXAMPLES
)
PARAMETERS: Tree = (
    TASK_PARAMETERS | ACCESS_PARAMETERS | BULK_PARAMETERS | FAILURE_PARAMETERS | SCHEDULE_PARAMETERS
)
_REFERENCE = re.compile(r"#/components/schemas/(\w+)")


def add_examples(document: Tree) -> None:
    """Put an example at every body, at every answer and at the parameters of paths."""
    for path, item in document["paths"].items():
        for operation in item.values():
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "path" or parameter["name"] == "wait":
                    parameter["example"] = PARAMETERS[parameter["name"]]
            for content in operation.get("requestBody", {}).get("content", {}).values():
                content["examples"] = _of_schema(content["schema"], sent=True)
            for response in operation["responses"].values():
                for media_type, content in response.get("content", {}).items():
                    if "examples" in content:
                        continue
                    content["examples"] = (
                        _problems(response["description"], path)
                        if media_type == PROBLEM_JSON
                        else _of_schema(content["schema"])
                    )


def _of_schema(schema: Tree, *, sent: bool = False) -> Tree:
    """The examples of a schema, or of a choice of schemas. A client does not send null members."""
    if schema.get("type") == "array":
        return {
            example: content | {"value": [content["value"]]}
            for example, content in _of_schema(schema["items"], sent=sent).items()
        }
    names = [
        named[1]
        for choice in schema.get("anyOf", [schema])
        if (named := _REFERENCE.fullmatch(choice.get("$ref", "")))
    ]
    return {
        example: {"summary": summary, "value": _plain(value, sent=sent)}
        for name in names
        for example, (summary, value) in EXAMPLES.get(name, {}).items()
    }


def _problems(description: str, path: str) -> Tree:
    """One example for each code of an answer."""
    codes = description.removeprefix("code: ").split(", ")
    return {
        code: {"summary": KINDS[code].title, "value": problem_example(code, _filled(path))}
        for code in codes
    }


def problem_example(code: str, path: str) -> Tree:
    """The body of an answer with a code."""
    kind = KINDS[code]
    return {
        "type": page_of(code),
        "title": kind.title,
        "status": kind.status,
        "detail": kind.advice,
        "code": code,
        "instance": path,
    }


def _filled(path: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: str(PARAMETERS[found[1]]), path)


def _plain(value: Struct, *, sent: bool) -> Tree:
    plain: Tree = msgspec.json.decode(msgspec.json.encode(value))
    return {name: each for name, each in plain.items() if each is not None} if sent else plain


__all__ = ["EXAMPLES", "add_examples", "problem_example"]
