"""Turn errors into problem+json answers.

The table in `problem_kinds.py` leads from the stable code of an error to status and title. Every
error is sent as `application/problem+json` (RFC 9457). Invariants: an answer never shows a
traceback, a statement or an address of a server. An error that is not in the table is a bug: a 500
that says only that.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Sequence
from random import choice
from typing import Annotated, Any, get_args
from urllib.parse import quote

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException
from msgspec import UNSET, Meta, Struct, UnsetType

from leaseq.codec import is_task_id
from leaseq.errors import (
    IdempotencyKeyReused,
    LeaseqError,
    PayloadInvalid,
    ScheduleInvalid,
    SubmissionInvalid,
    TaskMoved,
    UniqueConflict,
)
from leaseq.metrics.tally import TALLY
from leaseq.observability.telemetry import emit
from leaseq_api.problem_kinds import KINDS
from leaseq_api.refused import Refused
from leaseq_api.schemas import PostgresState, RedisState

# Of every answer; the HTTP server adds them.
HEADERS = [
    (b"server", b"leaseq"),
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
]
PROBLEM_JSON = "application/problem+json"
RETRY_AFTER_SECONDS = "1"
SPREAD_SECONDS = ("1", "2", "3")
DETAIL_LENGTH = 1000
INSTANCE_LENGTH = 2000
FAULT = "this is an internal error, which the log of the service describes"
STORE_AWAY = (
    "the store that must record this does not answer; nothing was acknowledged, so try again"
)


_CODE_OF_STATUS = {
    400: "parameter_invalid",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
}


def _text(description: str, **keywords: Any) -> Meta:
    """A text on the wire. The limits are in the document; outgoing values are not validated
    again."""
    return Meta(description=description, extra_json_schema=keywords)


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of every error (RFC 9457)."""

    type: Annotated[str, _text("The path of a page about the code", pattern="^/problems/[a-z_]+$")]
    title: Annotated[str, _text("The same for all problems of one code", minLength=1)]
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: Annotated[
        str, _text("This one problem, in a sentence", minLength=1, maxLength=DETAIL_LENGTH)
    ]
    code: Annotated[str, _text("Stable. Programs should use this field", pattern="^[a-z_]+$")]
    instance: Annotated[
        str,
        _text(
            "The path of the request", minLength=1, maxLength=INSTANCE_LENGTH, pattern="^[!-~]+$"
        ),
    ]
    pointer: (
        Annotated[
            str,
            _text(
                "A JSON pointer (RFC 6901) into the body, if one place is wrong",
                format="json-pointer",
            ),
        ]
        | UnsetType
    ) = UNSET
    task_id: (
        Annotated[str, _text("The conflicting task, or the requested one", format="uuid")]
        | UnsetType
    ) = UNSET
    present: (
        Annotated[
            str,
            _text(
                "The state and attempt of the task now, as `seen` has them",
                pattern="^[A-Z]+/[0-9]+$",
            ),
        ]
        | UnsetType
    ) = UNSET
    postgres: (
        Annotated[str, _text("The state of Postgres", enum=list(get_args(PostgresState)))]
        | UnsetType
    ) = UNSET
    redis: (
        Annotated[str, _text("The state of Redis", enum=list(get_args(RedisState)))] | UnsetType
    ) = UNSET


class RawAnswer(Struct, frozen=True):
    """An answer as it is sent."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


def retry_after() -> str:
    """Seconds for a client of an overloaded service. They differ, so that clients that were refused
    together do not come back together."""
    return choice(SPREAD_SECONDS)


def raw_problem(
    code: str,
    detail: str,
    *,
    path: bytes,
    retry_after: str = RETRY_AFTER_SECONDS,
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> RawAnswer:
    """The answer for a problem that is found before a route: by the HTTP server, and by the checks
    in front of the routes."""
    kind = KINDS[code]
    body = msgspec.json.encode(_problem(code, detail, instance=quote(path or b"/", safe="/%")))
    more = list(headers)
    if kind.retry and not more:
        more.append((b"retry-after", retry_after.encode()))
    if kind.challenge:
        more.append((b"www-authenticate", kind.challenge.encode()))
    framing = (
        (b"link", _link(code).encode()),
        (b"content-type", PROBLEM_JSON.encode()),
        (b"content-length", b"%d" % len(body)),
    )
    return RawAnswer(kind.status, (*framing, *more), body)


def page_of(code: str) -> str:
    """The path of the page about a code."""
    return f"/problems/{code}"


def _link(code: str) -> str:
    return f'<{page_of(code)}>; rel="describedby"; type="text/html"'


def problem_of(error: LeaseqError | Refused, *, path: bytes, most: int) -> Problem:
    """The problem for one item of a request, with a detail of at most so many characters."""
    code, detail, members = error.code, str(error), {}
    if isinstance(error, Refused):
        members = error.members
    elif code in KINDS:
        members = _members(error)
        detail = _public_detail(error)
    else:
        emit("request.failed", method="POST", error=type(error).__name__, traceback="")
        code, detail = "internal_error", FAULT
    return _problem(code, detail[:most], instance=quote(path, safe="/%"), **members)


def _problem(code: str, detail: str, *, instance: str, **members: str) -> Problem:
    kind = KINDS[code]
    return Problem(
        type=page_of(code),
        title=kind.title,
        status=kind.status,
        detail=detail[:DETAIL_LENGTH],
        code=code,
        instance=instance[:INSTANCE_LENGTH],
        **members,
    )


def answer(
    request: Request[Any, Any, Any],
    code: str,
    detail: str,
    *,
    allow: str | None = None,
    more: Sequence[tuple[bytes, bytes]] = (),
    **members: str,
) -> Response[Problem]:
    """The response for one problem."""
    kind = KINDS[code]
    TALLY.count("leaseq_refusals_total", code)
    problem = _problem(
        code, detail, instance=quote(request.scope["path"], errors="replace"), **members
    )
    headers = {"Link": _link(code)} | {name.decode(): value.decode() for name, value in more}
    if allow is not None:
        headers["Allow"] = allow
    if kind.retry and not more:
        headers["Retry-After"] = RETRY_AFTER_SECONDS
    if kind.challenge:
        headers["WWW-Authenticate"] = kind.challenge
    return Response(problem, status_code=kind.status, media_type=PROBLEM_JSON, headers=headers)


def allow_header(methods: Iterable[str]) -> str:
    """The methods of an address, with those that need no route."""
    listed = {*methods, "OPTIONS"}
    return ", ".join(sorted(listed | ({"HEAD"} if "GET" in listed else set())))


def of_refusal(request: Request[Any, Any, Any], error: Refused) -> Response[Problem]:
    """For refusals by the handlers of this service."""
    return answer(request, error.code, str(error), more=error.headers, **error.members)


def of_leaseq(request: Request[Any, Any, Any], error: LeaseqError) -> Response[Problem]:
    """For refusals and temporary failures of leaseq."""
    if error.code not in KINDS:
        return of_fault(request, error)
    members: dict[str, Any] = _members(error)
    if "task_id" not in members and is_task_id(
        meant := str(request.path_params.get("task_id", "")).lower()
    ):
        members["task_id"] = meant
    return answer(request, error.code, _public_detail(error), **members)


def _members(error: LeaseqError) -> dict[str, str]:
    members: dict[str, str] = {}
    if isinstance(error, PayloadInvalid):
        members["pointer"] = "/payload" + error.pointer
    elif isinstance(error, SubmissionInvalid | ScheduleInvalid) and error.field:
        members["pointer"] = "/" + error.field
    if isinstance(error, IdempotencyKeyReused | UniqueConflict):
        members["task_id"] = error.task_id
    elif isinstance(error, TaskMoved):
        members |= {"task_id": error.task_id, "present": error.present}
    return members


def _public_detail(error: LeaseqError) -> str:
    """The text of an error. That of a driver about an unreachable store (addresses, users) is not
    for clients."""
    away = KINDS[error.code].status == 503 and error.code != "lists_busy"
    return STORE_AWAY if away else str(error)


def of_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[Problem]:
    """For refusals by the framework: routes, methods, parameters, sizes."""
    code = _CODE_OF_STATUS.get(error.status_code)
    if code is None:
        return of_fault(request, error)
    allow = next(
        (
            allow_header(value.split(", "))
            for name, value in (error.headers or {}).items()
            if name.lower() == "allow"
        ),
        None,
    )
    return answer(request, code, _detail(code, error, allow), allow=allow)


def of_fault(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """For unexpected exceptions. The event reports where, but not the message, which may quote the
    client's input."""
    where = "".join(traceback.format_tb(error.__traceback__)[-5:])
    emit("request.failed", method=request.method, error=type(error).__name__, traceback=where)
    return answer(request, "internal_error", FAULT)


def _detail(code: str, error: HTTPException, allow: str | None) -> str:
    if code == "parameter_invalid" and isinstance(error.extra, list):
        blamed = [
            f"{e['key']}: {e['message']}" for e in error.extra if isinstance(e, dict) and "key" in e
        ]
        return "; ".join(blamed) or error.detail
    details = {
        "not_found": "no route has this path; /schema lists all routes",
        "method_not_allowed": f"this address supports {allow}",
        "body_too_large": "the body is larger than this service accepts",
    }
    return details.get(code, error.detail)


__all__ = [
    "FAULT",
    "HEADERS",
    "KINDS",
    "PROBLEM_JSON",
    "Problem",
    "RawAnswer",
    "Refused",
    "allow_header",
    "answer",
    "of_fault",
    "of_http",
    "of_leaseq",
    "of_refusal",
    "page_of",
    "problem_of",
    "raw_problem",
    "retry_after",
]
