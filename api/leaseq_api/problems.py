"""The HTTP answer that an error becomes.

One table, from the stable code of an error to status and title; every error leaves as `application/problem+json`
(RFC 9457). Invariants: a code never changes once released; an answer never shows a traceback, a statement or an
address of a server; an error that is not in the table is a fault of ours, a 500 that says nothing but that.
"""

from __future__ import annotations

import traceback
from typing import Any
from urllib.parse import quote

from litestar import Request, Response
from litestar.exceptions import HTTPException
from msgspec import UNSET, Struct, UnsetType

from leaseq.codec import is_task_id
from leaseq.errors import IdempotencyKeyReused, LeaseqError, PayloadInvalid
from leaseq.telemetry import emit

PROBLEM_JSON = "application/problem+json"
RETRY_AFTER_SECONDS = "1"
STORE_AWAY = "the store that has to record this does not answer; nothing was acknowledged, try again"


class Kind(Struct, frozen=True):
    """What all problems of one code have in common."""

    status: int
    title: str
    retry: bool = False  # the same request may succeed in a moment


KINDS: dict[str, Kind] = {
    # What leaseq itself refuses (leaseq/errors.py).
    "submission_invalid": Kind(422, "The submission cannot be accepted as it is"),
    "payload_invalid": Kind(422, "The payload does not fit what the handler takes"),
    "payload_too_large": Kind(413, "The payload is too large"),
    "unknown_type": Kind(422, "No worker has registered this task type"),
    "idempotency_key_invalid": Kind(400, "The idempotency key is missing or malformed"),
    "idempotency_key_reused": Kind(422, "The idempotency key was used for a different submission"),
    "idempotency_in_flight": Kind(409, "A submission with this idempotency key is still in flight", retry=True),
    "task_not_found": Kind(404, "There is no such task"),
    "task_conflict": Kind(409, "The task is in a state in which this cannot be done"),
    "queue_unknown": Kind(404, "There is no such queue"),
    "server_unreachable": Kind(503, "A store is out of reach", retry=True),
    "dispatch_foreign": Kind(503, "The prefix in Redis belongs to another ledger", retry=True),
    "schema_mismatch": Kind(503, "The schema in Postgres and this service do not fit together", retry=True),
    # What HTTP brings with it.
    "json_invalid": Kind(400, "The body is not valid JSON"),
    "body_incomplete": Kind(400, "The body ended too early"),
    "parameter_invalid": Kind(400, "A parameter of the address is not valid"),
    "not_found": Kind(404, "There is nothing at this address"),
    "method_not_allowed": Kind(405, "This address does not take this method"),
    "body_timeout": Kind(408, "The body took too long to arrive"),
    "body_too_large": Kind(413, "The body is too large"),
    "media_type_unsupported": Kind(415, "The body must be JSON"),
    "not_ready": Kind(503, "The service cannot do its work at the moment", retry=True),
    "internal_error": Kind(500, "Something went wrong inside the service"),
}

_CODE_OF_STATUS = {
    400: "parameter_invalid",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
}


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of every error."""

    type: str  # a URN that ends in the code
    title: str
    status: int
    detail: str
    code: str  # stable; what a program should look at
    instance: str  # the path of the request
    pointer: str | UnsetType = UNSET  # JSON pointer (RFC 6901) into the body, where one place is to blame
    task_id: str | UnsetType = UNSET  # the task that stands in the way, or that was meant
    postgres: str | UnsetType = UNSET
    redis: str | UnsetType = UNSET


class Refused(Exception):
    """A request that HTTP manners refuse, before leaseq is asked. `code` is one of `KINDS`."""

    def __init__(self, code: str, detail: str, **members: str) -> None:
        super().__init__(detail)
        self.code = code
        self.members = members


def answer(
    request: Request[Any, Any, Any], code: str, detail: str, *, allow: str | None = None, **members: str
) -> Response[Problem]:
    """The response for one problem."""
    kind = KINDS[code]
    problem = Problem(
        type=f"urn:leaseq:problem:{code}",
        title=kind.title,
        status=kind.status,
        detail=detail[:1000],
        code=code,
        instance=quote(request.scope["path"], errors="replace")[:2000],
        **members,
    )
    headers = {} if allow is None else {"Allow": allow}
    if kind.retry:
        headers["Retry-After"] = RETRY_AFTER_SECONDS
    return Response(problem, status_code=kind.status, media_type=PROBLEM_JSON, headers=headers)


def of_refusal(request: Request[Any, Any, Any], error: Refused) -> Response[Problem]:
    """For what the handlers of this service refuse."""
    return answer(request, error.code, str(error), **error.members)


def of_leaseq(request: Request[Any, Any, Any], error: LeaseqError) -> Response[Problem]:
    """For what leaseq refuses, or cannot do at the moment."""
    if error.code not in KINDS:
        return of_fault(request, error)
    members: dict[str, str] = {}
    if isinstance(error, PayloadInvalid):
        members["pointer"] = "/payload" + error.pointer
    if isinstance(error, IdempotencyKeyReused):
        members["task_id"] = error.task_id
    elif is_task_id(meant := str(request.path_params.get("task_id", "")).lower()):
        members["task_id"] = meant
    # What a driver says about a store it cannot reach (addresses, users) is not for clients.
    away = KINDS[error.code].status == 503
    return answer(request, error.code, STORE_AWAY if away else str(error), **members)


def of_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[Problem]:
    """For what the framework refuses: routes, methods, parameters, sizes."""
    code = _CODE_OF_STATUS.get(error.status_code)
    if code is None:
        return of_fault(request, error)
    allow = next((value for name, value in (error.headers or {}).items() if name.lower() == "allow"), None)
    return answer(request, code, _detail(code, error, allow), allow=allow)


def of_fault(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """For what nobody foresaw. The event tells where, but not the message: it may quote what a client sent."""
    where = "".join(traceback.format_tb(error.__traceback__)[-5:])
    emit("request.failed", method=request.method, error=type(error).__name__, traceback=where)
    return answer(request, "internal_error", "this is a fault of the service, and has been logged there")


def _detail(code: str, error: HTTPException, allow: str | None) -> str:
    if code == "parameter_invalid" and isinstance(error.extra, list):
        blamed = [f"{e['key']}: {e['message']}" for e in error.extra if isinstance(e, dict) and "key" in e]
        return "; ".join(blamed) or error.detail
    said = {
        "not_found": "no route leads here; /schema lists those there are",
        "method_not_allowed": f"this address takes {allow}",
        "body_too_large": "the body is larger than this service takes",
    }
    return said.get(code, error.detail)


__all__ = ["KINDS", "PROBLEM_JSON", "Kind", "Problem", "Refused", "answer", "of_fault", "of_http", "of_leaseq", "of_refusal"]
