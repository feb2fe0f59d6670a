"""The headers of W3C's Trace Context, as the OpenAPI document has them."""

from __future__ import annotations

from leaseq_api.problem_responses import Tree

EXAMPLE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def trace_parameters() -> list[Tree]:
    """The headers of a submission that its tasks carry.

    The schemas have no pattern, because a value that is not valid is ignored and not refused.
    """
    return [
        {
            "name": "traceparent",
            "in": "header",
            "required": False,
            "description": "The span in which the client submits (https://www.w3.org/TR/trace-context/). "
            "The spans of the attempts link to it. A value that is not valid is ignored",
            "schema": {"type": "string"},
            "example": EXAMPLE,
        },
        {
            "name": "tracestate",
            "in": "header",
            "required": False,
            "description": "Fields of the tracing systems of the client. Ignored without a valid traceparent",
            "schema": {"type": "string"},
            "example": "vendor=00f067aa0ba902b7",
        },
    ]


__all__ = ["trace_parameters"]
