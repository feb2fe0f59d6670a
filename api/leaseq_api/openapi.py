"""The OpenAPI document at /schema.

The framework derives paths, names, descriptions and parameters from the routes. `complete` adds the
rest: the msgspec schemas, which also encode and decode; the parameters that a route reads itself;
every problem that an operation may answer with; the headers of answers; and HEAD and OPTIONS, which
need no route. Invariants: every status that this service can answer with is listed at its
operation, and every limit on a value is a keyword of its schema.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import msgspec
from litestar import Litestar, Request
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.routes import HTTPRoute
from msgspec import Struct

from leaseq.api_keys import IssuedKey
from leaseq_api import (
    access_schemas,
    action_schemas,
    census_schemas,
    life_schemas,
    operate_schemas,
    schemas,
)
from leaseq_api.batch.schemas import MAX_ITEMS, BatchAnswer, BatchItem, BatchOutcome
from leaseq_api.bulk import schemas as bulk_schemas
from leaseq_api.examples import add_examples
from leaseq_api.failures import schemas as failure_schemas
from leaseq_api.follow.document import complete_stream
from leaseq_api.follow.event_views import EVENT_VIEWS
from leaseq_api.follow.stream_query import FeedQuery, StreamQuery
from leaseq_api.idempotency import HEADER
from leaseq_api.limits import schemas as limit_schemas
from leaseq_api.metrics_document import METRICS_CONTENT
from leaseq_api.problem_responses import Tree, header_of, problem_responses
from leaseq_api.problems import Problem
from leaseq_api.quotas.document import LIMIT_FIELDS, add_limit_fields
from leaseq_api.schedules.schemas import WIRE as SCHEDULE_WIRE
from leaseq_api.schemas import FreshTaskView, ListQuery, OperationQuery
from leaseq_api.submitted_headers import submitted_headers
from leaseq_api.trace_parameters import trace_parameters

_DESCRIPTION = (
    "A reliable task queue. A task answered with 202 is recorded in Postgres and reaches SUCCESS, FAILED or CANCELLED. "
    "Errors are `application/problem+json`; look at `code`. Later versions may add codes, members and optional fields."
)
_QUERIES: dict[str, type[Struct]] = {
    "list_failures": failure_schemas.FailureQuery,
    "list_notices": life_schemas.NoticeQuery,
    "list_operations": OperationQuery,
    "list_tasks": ListQuery,
}
_REF = "#/components/schemas/{name}"
# Every struct of the schemas but variants of others, and those that are no JSON on the wire.
_WIRE: list[Any] = [
    kind
    for module in (
        schemas,
        access_schemas,
        action_schemas,
        life_schemas,
        operate_schemas,
        bulk_schemas,
        census_schemas,
    )
    for name in module.__all__
    if isinstance(kind := getattr(module, name), type)
    and issubclass(kind, Struct)
    and kind not in (FreshTaskView, *_QUERIES.values())
]
_WIRE += failure_schemas.WIRE + SCHEDULE_WIRE + limit_schemas.WIRE
_WIRE += [BatchAnswer, BatchItem, BatchOutcome, *EVENT_VIEWS, IssuedKey, Problem]

# The possible answers of the HTTP server and of the checks in front of all routes.
IN_FRONT = (
    "request_malformed",
    "host_invalid",
    "header_repeated",
    "forwarded_conflict",
    "method_not_allowed",
    "head_timeout",
    "body_timeout",
    "body_too_large",
    "target_too_long",
    "head_too_large",
    "internal_error",
    "method_unknown",
    "overloaded",
)

_BARE_KEY = r"[!#-+\--~](?:[ -+\--~]{0,253}[!-+\--~])?"
_QUOTED_KEY = r'"(?:[ !#-\[\]-~]|\\["\\]){1,255}"'
KEY_SCHEMA: Tree = {
    "type": "string",
    "minLength": 1,
    "maxLength": 512,
    "pattern": f"^(?:{_BARE_KEY}|{_QUOTED_KEY})$",
}

_TAGS: list[Tree] = [
    {"name": "tasks", "description": "Submit tasks, follow them and act on them"},
    {"name": "operate", "description": "Queues and workers"},
    {"name": "access", "description": "API keys and tenants"},
    {"name": "health", "description": "For probes"},
    {"name": "http", "description": "HEAD and OPTIONS, which every address has"},
]
_KEYS: Tree = {
    "key": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, `lq_...`. A service that runs open needs none. With a key that is bound to "
        "no tenant, the header Leaseq-Tenant binds one request to a tenant.",
    }
}


def any_codes(*codes: str) -> tuple[str, ...]:
    """The codes of an operation, with those that any address may answer with."""
    return codes + IN_FRONT


def api_codes(*codes: str) -> tuple[str, ...]:
    """The same, with those of any address under /api."""
    stores = ("server_unreachable", "dispatch_foreign", "schema_mismatch")
    keys = (
        *("key_missing", "key_invalid", "key_expired", "key_revoked", "too_many_attempts"),
        *("scope_missing", "tenant_forbidden", "tenant_unknown", "rate_limited"),
    )
    return any_codes(*codes, "parameter_invalid", "host_unknown", *keys, *stores)


def change_codes(*codes: str) -> tuple[str, ...]:
    """The same, with those of any operation that changes something."""
    return api_codes(*codes, "cross_site")


class Document(JsonRenderPlugin):
    """The document of one process, as JSON. It depends on the configuration in one point: whether a
    key is required."""

    def __init__(self, *, key_required: bool) -> None:
        super().__init__(path=["/", "/openapi.json"])
        self._key_required = key_required
        self._rendered: bytes | None = None

    def render(self, request: Request[Any, Any, Any], openapi_schema: Tree) -> bytes:
        """The document, which is made at the first request for it."""
        if self._rendered is None:
            self._rendered = msgspec.json.encode(
                complete(request.app, openapi_schema, key_required=self._key_required)
            )
        return self._rendered


def openapi_config(version: str, *, key_required: bool) -> OpenAPIConfig:
    """The document, as JSON, at /schema and /schema/openapi.json."""
    return OpenAPIConfig(
        title="leaseq",
        version=version,
        description=_DESCRIPTION,
        path="/schema",
        use_handler_docstrings=True,
        operation_id_creator=lambda handler, _method, _path: handler.handler_name,
        render_plugins=[Document(key_required=key_required)],
    )


def complete(app: Litestar, derived: Tree, *, key_required: bool) -> Tree:
    """The document, from what the framework has derived."""
    document = deepcopy(derived)
    document["components"] = {
        "schemas": _components(),
        "headers": deepcopy(LIMIT_FIELDS),
        "securitySchemes": deepcopy(_KEYS),
    }
    document["tags"] = deepcopy(_TAGS)
    for route in app.routes:
        item = document["paths"].get(route.path_format)
        if item is None or not isinstance(route, HTTPRoute):
            continue
        codes: tuple[str, ...] = ()
        for handler in route.route_handlers:
            if codes_of_handler := handler.opt.get("codes"):
                # A parameter may be spelled as no task and no queue is.
                codes = (
                    (*codes_of_handler, "not_found")
                    if "{" in route.path_format
                    else codes_of_handler
                )
                scope = handler.opt.get("scope")
                for method in handler.http_methods - {"HEAD", "OPTIONS"}:
                    _complete(item[method.lower()], codes, key_required=key_required)
                    _add_body(item[method.lower()], handler.opt)
                    item[method.lower()]["security"] = _security(scope)
        if "get" in item:
            item["head"] = _head(item["get"])
        item["options"] = _options(route.path_format, item, api="host_unknown" in codes)
    add_examples(document)
    return document


def _components() -> Tree:
    _, components = msgspec.json.schema_components(_WIRE, ref_template=_REF)
    _add_types(components)
    # Null is as good as no value, for which `required` knows no word.
    both = {"delay_seconds": {"type": "number"}, "run_at": {"type": "string"}}
    for name in ("SubmitBody", "BatchItem", "ReplayBody"):
        components[name]["not"] = {"properties": both, "required": list(both)}
    lone = {"rate": {"type": "null"}, "burst": {"type": "integer"}}
    for name in ("KeyBody", "KeyLimitBody"):
        components[name]["not"] = {"properties": lone, "required": ["burst"]}
    return components


def _add_types(node: Any) -> None:
    """Name the type of enumerations, without which some generators do not know them."""
    if isinstance(node, dict):
        if "enum" in node:
            node.setdefault("type", "boolean" if node["enum"] == [True] else "string")
        for inner in node.values():
            _add_types(inner)
    elif isinstance(node, list):
        for inner in node:
            _add_types(inner)


def _complete(operation: Tree, codes: tuple[str, ...], *, key_required: bool) -> None:
    # The first clause of the docstring of the route.
    described = operation["description"].replace("\n", " ")
    operation["summary"] = re.split(r"[,;:.] |\.$", described, maxsplit=1)[0]
    responses = {
        status: response for status, response in operation["responses"].items() if int(status) < 400
    }
    match operation["operationId"]:
        case "submit":
            _complete_submit(operation, responses["202"], key_required=key_required)
        case "replay":
            responses["202"]["headers"] = submitted_headers()
        case "run_schedule":
            responses["202"]["headers"] = {"Location": submitted_headers()["Location"]}
        case "submit_batch":
            _complete_batch(operation, responses["200"])
        case "metrics":
            responses["200"]["content"] = deepcopy(METRICS_CONTENT)
        case name if name in _QUERIES:
            operation["parameters"] = _query_parameters(_QUERIES[name])
        case "follow_task" | "follow_tasks" as name:
            query = _query_parameters(StreamQuery if name == "follow_task" else FeedQuery)
            operation["parameters"] = [*operation.get("parameters", ()), *query]
            complete_stream(operation)
            responses = {
                status: each for status, each in operation["responses"].items() if int(status) < 400
            }
    if operation["operationId"] in ("submit", "replay", "submit_batch"):
        operation["parameters"] = [*operation.get("parameters", ()), *trace_parameters()]
    for response in responses.values():
        response.pop("headers" if not response.get("headers") else "", None)
    responses |= problem_responses(codes)
    add_limit_fields(responses, codes)
    operation["responses"] = dict(sorted(responses.items()))


def _security(scope: str | None) -> list[Tree]:
    """The key of an operation, with its scope; none where the service runs open."""
    return [] if scope is None else [{"key": [scope]}, {}]


def _add_body(operation: Tree, opt: Mapping[str, Any]) -> None:
    """Add the body that a route reads itself."""
    if "body" in opt:
        content = {"application/json": {"schema": _ref(opt["body"].__name__)}}
        operation["requestBody"] = {"required": opt.get("body_required", True), "content": content}


def _complete_submit(operation: Tree, accepted: Tree, *, key_required: bool) -> None:
    key = "Submitting again with the same key returns the same task. Bare, or quoted as a structured field"
    operation["parameters"] = [
        {
            "name": HEADER,
            "in": "header",
            "required": key_required,
            "description": f"{key} (draft-ietf-httpapi-idempotency-key-header-07). 1 to 255 characters between the quotes.",
            "schema": KEY_SCHEMA,
        }
    ]
    body = {"application/json": {"schema": _ref("SubmitBody")}}
    operation["requestBody"] = {"required": True, "content": body}
    accepted["content"]["application/json"]["schema"] = {
        "anyOf": [_ref("TaskView"), _ref("RememberedTask")]
    }
    accepted["headers"] = submitted_headers()


def _complete_batch(operation: Tree, answered: Tree) -> None:
    array = {"type": "array", "maxItems": MAX_ITEMS, "items": _ref("BatchItem")}
    operation["requestBody"] = {
        "required": True,
        "description": "At most 16 MiB. In `application/x-ndjson` each line is an item",
        "content": {
            "application/json": {"schema": array},
            "application/x-ndjson": {"schema": _ref("BatchItem")},
        },
    }
    # With `Accept: application/x-ndjson` each line is an outcome.
    answered["content"] = {
        "application/json": {"schema": _ref("BatchAnswer")},
        "application/x-ndjson": {"schema": _ref("BatchOutcome")},
    }


def _query_parameters(query: type[msgspec.Struct]) -> list[Tree]:
    """One parameter for each field of a query that its route reads itself."""
    _, components = msgspec.json.schema_components([query], ref_template=_REF)
    _add_types(components)
    properties: dict[str, Tree] = components[query.__name__]["properties"]
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": written.pop("description"),
            "schema": written,
        }
        for name, written in properties.items()
    ]


def _head(get: Tree) -> Tree:
    """HEAD of an address: its answers to GET without their content."""
    responses = {
        status: {name: value for name, value in response.items() if name != "content"}
        for status, response in get["responses"].items()
    }
    described = {
        "summary": f"{get['summary']}, head only",
        "description": "The same as GET, without the content.",
    }
    more = {"parameters": get["parameters"]} if "parameters" in get else {}
    return {
        "tags": ["http"],
        "operationId": f"head_{get['operationId']}",
        "responses": responses,
        "security": get.get("security", []),
        **described,
        **more,
    }


def _options(path: str, item: Tree, *, api: bool) -> Tree:
    name = re.sub(r"[^a-z_]+", "_", path).strip("_")
    allow = header_of("The methods of the address", required=True, pattern="^[A-Z]+(?:, [A-Z]+)*$")
    responses = {"204": {"description": "The methods of the address", "headers": {"Allow": allow}}}
    codes = (*IN_FRONT, *(["host_unknown"] if api else []), *(["not_found"] if "{" in path else []))
    operation: Tree = {
        "tags": ["http"],
        "summary": f"Options of {path}",
        "description": "Say which methods an address takes.",
        "operationId": f"options_{name}",
        "responses": responses | problem_responses(codes),
        "security": [],
    }
    # No task or queue is looked for.
    anything = {"schema": {"type": "string", "minLength": 1, "pattern": "^[A-Za-z0-9_.-]+$"}}
    of_path = [
        each | anything
        for each in next(iter(item.values())).get("parameters", [])
        if each["in"] == "path"
    ]
    return operation | ({"parameters": of_path} if of_path else {})


def _ref(name: str) -> Tree:
    return {"$ref": _REF.format(name=name)}


__all__ = [
    "Document",
    "any_codes",
    "api_codes",
    "change_codes",
    "complete",
    "openapi_config",
]
