"""The problems in the OpenAPI document: the responses of an operation, by status."""

from __future__ import annotations

from typing import Any

from leaseq_api.problem_kinds import KINDS
from leaseq_api.problems import PROBLEM_JSON, RETRY_AFTER_SECONDS, SPREAD_SECONDS

Tree = dict[str, Any]


def problem_responses(codes: tuple[str, ...]) -> Tree:
    """The responses for problems, by status."""
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(KINDS[code].status, []).append(code)
    return {
        str(status): _problem_response(status, sorted(set(of_status)))
        for status, of_status in by_status.items()
    }


def _problem_response(status: int, codes: list[str]) -> Tree:
    headers = {
        "Link": header_of(
            "The page about the code",
            required=True,
            pattern='^</problems/[a-z_]+>; rel="describedby"',
        )
    }
    retry = [KINDS[code].retry for code in codes]
    if any(retry):
        spread = "overloaded" in codes
        seconds: Tree = {"enum": list(SPREAD_SECONDS)} if spread else {"const": RETRY_AFTER_SECONDS}
        seconds = {"pattern": "^[1-9][0-9]*$"} if status == 429 else seconds
        headers["Retry-After"] = header_of(
            "Seconds after which the same may succeed", required=all(retry), **seconds
        )
    if status == 405:
        headers["Allow"] = header_of(
            "The methods of the address", required=True, pattern="^[A-Z]+(?:, [A-Z]+)*$"
        )
    content = {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": f"code: {', '.join(codes)}", "headers": headers, "content": content}


def header_of(description: str, *, required: bool = False, **schema: Any) -> Tree:
    """A header of a response."""
    return {
        "description": description,
        "required": required,
        "schema": {"type": "string", **schema},
    }


__all__ = ["Tree", "header_of", "problem_responses"]
