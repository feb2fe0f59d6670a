"""What does the service say of itself at /schema?

Most of the document is derived from the routes. Two things the framework cannot see are said here: the body of
a submission, which is decoded by our own hand, and the problems that a route may answer with.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
from litestar.openapi import ResponseSpec
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import (
    Example,
    OpenAPIHeader,
    OpenAPIMediaType,
    OpenAPIResponse,
    Operation,
    Parameter,
    Reference,
    RequestBody,
    Schema,
)
from litestar.openapi.spec.enums import OpenAPIType

from leaseq_api.idempotency import HEADER
from leaseq_api.problems import KINDS, PROBLEM_JSON, Problem
from leaseq_api.schemas import ListQuery, SubmitBody

_DESCRIPTION = (
    "A reliable task queue. A task answered with 202 is recorded in Postgres and reaches SUCCESS, FAILED or CANCELLED. "
    "Errors are `application/problem+json`; look at `code`."
)


# Found before a route is.
IN_FRONT = ("request_malformed", "host_invalid", "header_repeated", "head_timeout", "target_too_long", "head_too_large")


@dataclass
class WrittenSchema(Schema):
    """A JSON Schema that stands in the document as it is."""

    written: dict[str, Any] = field(default_factory=dict)

    def to_schema(self) -> dict[str, Any]:
        """What is written."""
        return self.written


def _submit_body() -> RequestBody:
    _, components = msgspec.json.schema_components([SubmitBody], ref_template="#/components/schemas/{name}")
    examples: dict[str, Example | Reference] = {
        "smallest": Example(summary="The least that is needed", value={"type": "charge", "payload": {"cents": 500}}),
        "later": Example(
            summary="Later, and first in its queue",
            value={
                "type": "charge",
                "payload": {"order_id": 1, "cents": 500},
                "queue": "billing",
                "priority": "high",
                "delay_seconds": 60,
                "max_attempts": 3,
                "timeout_seconds": 30,
            },
        ),
    }
    media = OpenAPIMediaType(schema=WrittenSchema(written=components["SubmitBody"]), examples=examples)
    return RequestBody(content={"application/json": media}, required=True)


def _submit_parameters() -> list[Any]:
    return [
        Parameter(
            name=HEADER,
            param_in="header",
            required=False,
            description="Submitting again with the same key returns the same task. At most 255 characters; bare, or "
            "quoted as a structured field (draft-ietf-httpapi-idempotency-key-header-07).",
            schema=Schema(type=OpenAPIType.STRING, max_length=255),
        )
    ]


@dataclass
class SubmitOperation(Operation):
    """`POST /api/tasks`, with the body that the route reads by itself."""

    def __post_init__(self) -> None:
        """Add what the signature of the route does not show."""
        self.request_body = _submit_body()
        self.parameters = _submit_parameters()
        accepted = (self.responses or {}).get("202")
        if isinstance(accepted, OpenAPIResponse):
            text = Schema(type=OpenAPIType.STRING)
            accepted.headers = {
                "Location": OpenAPIHeader(schema=text, description="The address of the task"),
                "Idempotent-Replayed": OpenAPIHeader(schema=text, description="true, when the key was seen before"),
            }


@dataclass
class ListOperation(Operation):
    """`GET /api/tasks`, with the query that the route reads by itself."""

    def __post_init__(self) -> None:
        """Add one parameter for each field of `ListQuery`."""
        _, components = msgspec.json.schema_components([ListQuery], ref_template="#/components/schemas/{name}")
        properties: dict[str, dict[str, Any]] = components["ListQuery"]["properties"]
        self.parameters = [
            Parameter(
                name=name,
                param_in="query",
                required=False,
                description=written.get("description"),
                schema=WrittenSchema(written=written),
            )
            for name, written in properties.items()
        ]


def problems(*codes: str) -> dict[int, ResponseSpec]:
    """The problem responses of a route, by status, from the codes it may answer with."""
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(KINDS[code].status, []).append(code)
    return {
        status: ResponseSpec(
            Problem, generate_examples=False, media_type=PROBLEM_JSON, description=f"code: {', '.join(of_status)}"
        )
        for status, of_status in by_status.items()
    }


def any_problems(*codes: str) -> dict[int, ResponseSpec]:
    """The same, with what the HTTP server and the checks in front of all routes may answer with."""
    return problems(*codes, *IN_FRONT)


def api_problems(*codes: str) -> dict[int, ResponseSpec]:
    """The same, with what any route under /api may answer with."""
    return any_problems(*codes, "parameter_invalid", "host_unknown", "server_unreachable", "overloaded", "internal_error")


def change_problems(*codes: str) -> dict[int, ResponseSpec]:
    """The same, with what any route under /api that changes something may answer with."""
    return api_problems(*codes, "cross_site", "body_timeout", "body_too_large")


def openapi_config(version: str) -> OpenAPIConfig:
    """The document, as JSON, at /schema and /schema/openapi.json."""
    return OpenAPIConfig(
        title="leaseq",
        version=version,
        description=_DESCRIPTION,
        path="/schema",
        use_handler_docstrings=True,
        operation_id_creator=lambda handler, _method, _path: handler.handler_name,
        render_plugins=[JsonRenderPlugin(path=["/", "/openapi.json"])],
    )


__all__ = ["ListOperation", "SubmitOperation", "any_problems", "api_problems", "change_problems", "openapi_config", "problems"]
