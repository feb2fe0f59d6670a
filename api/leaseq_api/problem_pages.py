"""The pages about problem codes, to which `type` and Link of a problem lead.

They are made from the table of problems and from the codes that each route declares, so a page is
never behind the code. Nothing on them loads or runs anything.
"""

from __future__ import annotations

from html import escape
from typing import Annotated, Any

import msgspec
from litestar import Litestar, Request, Response, Router, get
from litestar.enums import MediaType
from litestar.params import PathParameter

from leaseq_api.examples import problem_example
from leaseq_api.openapi import IN_FRONT
from leaseq_api.problem_kinds import KINDS, Kind
from leaseq_api.problems import RETRY_AFTER_SECONDS, page_of
from leaseq_api.refused import Refused

Code = Annotated[str, PathParameter(description="The code of a problem")]

_POLICY = {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<h1>{title}</h1>
{content}<p><a href="/problems">All problems</a>, <a href="/docs">the API</a></p>
</html>
"""
_AGAIN = (
    "<h2>Again</h2>\n<p>The same request may succeed after the seconds in <code>Retry-After</code> "
    f"({RETRY_AFTER_SECONDS} or more). With an <code>Idempotency-Key</code> a submission is safe to repeat.</p>\n"
)
_NOT_AGAIN = "<h2>Again</h2>\n<p>The same request is answered in the same way until its cause is removed.</p>\n"


@get("/", scope=None, include_in_schema=False)
async def list_codes() -> Response[str]:
    """List the codes of all problems, by status."""
    rows = "".join(
        f'<tr><td>{kind.status}<td><a href="{page_of(code)}">{code}</a><td>{escape(kind.title)}\n'
        for code, kind in sorted(KINDS.items(), key=lambda item: (item[1].status, item[0]))
    )
    table = f"<table>\n<tr><th>Status<th>Code<th>Meaning\n{rows}</table>\n"
    about = (
        "<p>Every error is <code>application/problem+json</code> (RFC 9457). Programs should look at "
        "<code>code</code>, which never changes.</p>\n"
    )
    return _page("Problems", about + table)


@get("/{code:str}", scope=None, include_in_schema=False)
async def show_code(request: Request[Any, Any, Any], code: Code) -> Response[str]:
    """Say what a code means and what to do."""
    kind = KINDS.get(code)
    if kind is None:
        raise Refused("not_found", "there is no such problem; /problems lists all of them")
    return _page(kind.title, _content(request.app, code, kind))


def _content(app: Litestar, code: str, kind: Kind) -> str:
    example = msgspec.json.format(msgspec.json.encode(problem_example(code, "/api/tasks"))).decode()
    return (
        f"<p>Status {kind.status}, code <code>{code}</code></p>\n"
        f"<h2>What to do</h2>\n<p>{escape(kind.advice)}</p>\n"
        + (_AGAIN if kind.retry else _NOT_AGAIN)
        + f"<h2>Where</h2>\n{_where(app, code)}"
        + f"<h2>Example</h2>\n<pre>{escape(example)}</pre>\n"
    )


def _where(app: Litestar, code: str) -> str:
    """The operations that declare a code."""
    if code in IN_FRONT:
        return "<p>Any address.</p>\n"
    found = {
        f"{method} {route.path_format}"
        for route in app.routes
        for handler in getattr(route, "route_handlers", ())
        if code in handler.opt.get("codes", ())
        or (code == "not_found" and "{" in route.path_format)
        for method in handler.http_methods - {"HEAD", "OPTIONS"}
    }
    items = "".join(f"<li><code>{escape(each)}</code>\n" for each in sorted(found))
    other = "<p>Also any address that does not exist.</p>\n" if code == "not_found" else ""
    return f"<ul>\n{items}</ul>\n{other}"


def _page(title: str, content: str) -> Response[str]:
    page = _PAGE.format(title=escape(title), content=content)
    return Response(page, media_type=MediaType.HTML, headers=_POLICY)


router = Router("/problems", route_handlers=[list_codes, show_code])

__all__ = ["router"]
