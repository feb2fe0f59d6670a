"""Errors of the dashboard as pages.

They have the codes, sentences and advice of the problems of the API. A request without a key, where
one is required, is sent to the page that asks for it. While Postgres is away the page keeps its
frame, says so with 503, and asks to be loaded again.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from litestar import Response
from litestar.exceptions import HTTPException
from litestar.types import Scope

from leaseq.errors import LeaseqError, ServerUnreachable
from leaseq_api import problems
from leaseq_api.problem_kinds import KINDS
from leaseq_api.problems import Problem, RawAnswer
from leaseq_api.refused import Refused
from leaseq_api.security.principal import principal_of
from leaseq_api.ui.answer import HEADERS, ROOT, html, see_other
from leaseq_api.ui.page import AnyRequest, frame_of
from leaseq_api.ui.templates import render

# After so many seconds a page without its store asks to be loaded again.
AGAIN_SECONDS = 5
SIGN_IN = ("key_missing", "key_expired", "key_revoked", "key_invalid")


def _address(scope: Scope) -> str:
    """The path and the query of a request, to come back to after a login."""
    query = scope["query_string"]
    return (scope["raw_path"] + (b"?" + query if query else b"")).decode("latin-1")


def _answer(request: AnyRequest, found: Response[Problem], *, slow: bool) -> Response[Any]:
    problem = found.content
    reads = request.method == "GET"
    if problem.code in SIGN_IN:
        target = _address(request.scope) if reads else ROOT
        return see_other(f"{ROOT}/login?next={quote(target, safe='/')}")
    kept = {
        name: value
        for name, value in found.headers.items()
        if name.lower() not in ("link", "content-type")
    }
    values: dict[str, Any] = {
        "problem": problem,
        "advice": KINDS[problem.code].advice,
        "slow": slow,
        "again": AGAIN_SECONDS if problem.status == 503 and reads and not slow else None,
    }
    # Of a process that cannot ask for the state of the cluster, the last one would be wrong.
    service = request.app.state.service
    tenant = principal_of(request.scope).tenant
    known = service.overview.last if problem.status < 500 and tenant is None else None
    away = problem.code == "server_unreachable" and not slow
    frame = frame_of(request, service, title=problem.title, overview=known, away=away, live=False)
    text = render("problem.html", values | {"frame": frame})
    return html(text, status=problem.status, headers=kept)


def of_refusal(request: AnyRequest, error: Refused) -> Response[Any]:
    """For refusals by the handlers of this service."""
    return _answer(request, problems.of_refusal(request, error), slow=False)


def of_leaseq(request: AnyRequest, error: LeaseqError) -> Response[Any]:
    """For refusals and temporary failures of leaseq. A statement that took too long is one."""
    slow = isinstance(error, ServerUnreachable) and error.took_too_long
    return _answer(request, problems.of_leaseq(request, error), slow=slow)


def of_http(request: AnyRequest, error: HTTPException) -> Response[Any]:
    """For refusals by the framework."""
    return _answer(request, problems.of_http(request, error), slow=False)


def of_fault(request: AnyRequest, error: Exception) -> Response[Any]:
    """For unexpected exceptions."""
    return _answer(request, problems.of_fault(request, error), slow=False)


def raw_page(code: str, detail: str, problem: RawAnswer) -> RawAnswer:
    """The page in place of a problem that was found before any route: without the frame, because the
    principal of the request is not known."""
    kind = KINDS[code]
    body = render(
        "bare_problem.html",
        {
            "code": code,
            "status": kind.status,
            "title": kind.title,
            "detail": detail,
            "advice": kind.advice,
        },
    ).encode()
    kept = [
        (name, value)
        for name, value in problem.headers
        if name not in (b"link", b"content-type", b"content-length")
    ]
    ours = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
    framing = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
    ]
    return RawAnswer(kind.status, (*framing, *ours, *kept), body)


__all__ = ["of_fault", "of_http", "of_leaseq", "of_refusal", "raw_page"]
