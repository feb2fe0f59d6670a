"""The pages about problem codes, to which `type` and Link of a problem lead."""

from __future__ import annotations

from html import escape
from typing import Annotated

from litestar import Response, Router, get
from litestar.enums import MediaType
from litestar.params import PathParameter

from leaseq_api.problem_kinds import KINDS
from leaseq_api.problems import page_of
from leaseq_api.refused import Refused

Code = Annotated[str, PathParameter(description="The code of a problem")]

_PAGE = (
    '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>\n'
    "<h1>{title}</h1>\n<p>Status {status}, <code>{code}</code></p>\n<p>{advice}</p>\n{more}</html>\n"
)
# Nothing on these pages loads or runs anything.
_POLICY = {"Content-Security-Policy": "default-src 'none'"}


@get("/", scope=None, include_in_schema=False)
async def list_codes() -> Response[str]:
    """List the codes of all problems."""
    items = "".join(
        f'<li><a href="{page_of(code)}">{code}</a>: {escape(kind.title)}</li>\n'
        for code, kind in KINDS.items()
    )
    text = f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>Problems</title>\n<ul>\n{items}</ul>\n</html>\n'
    return Response(text, media_type=MediaType.HTML, headers=_POLICY)


@get("/{code:str}", scope=None, include_in_schema=False)
async def show_code(code: Code) -> Response[str]:
    """Say what a code means and what to do."""
    kind = KINDS.get(code)
    if kind is None:
        raise Refused("not_found", "there is no such problem; /problems lists all of them")
    more = "<p>The same request may succeed in a moment.</p>\n" if kind.retry else ""
    page = _PAGE.format(
        title=escape(kind.title),
        status=kind.status,
        code=code,
        advice=escape(kind.advice),
        more=more,
    )
    return Response(page, media_type=MediaType.HTML, headers=_POLICY)


router = Router("/problems", route_handlers=[list_codes, show_code])

__all__ = ["router"]
