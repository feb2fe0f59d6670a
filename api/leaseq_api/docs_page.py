"""The interactive page about the API, at /docs.

Swagger UI shows the OpenAPI document and sends requests. Its files are a part of the package and
come from this service, so the page needs no internet. Their addresses change with their content, so
a browser loads them once. Invariants: the policy of the page allows no other origin, no inline
script and no inline style. The page keeps an entered key in its memory only.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from typing import Annotated

from litestar import Response, Router, get
from litestar.enums import MediaType
from litestar.params import PathParameter

from leaseq_api.refused import Refused

Mark = Annotated[str, PathParameter(description="A mark of the content of all files of the page")]
Asset = Annotated[str, PathParameter(description="The name of a file of the page")]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# A year. Without it, the HTTP server forbids to keep an answer.
CACHING = "public, max-age=31536000, immutable"
_HEADERS = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer"}
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>leaseq API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/{mark}/swagger-ui.css">
<script defer src="/docs/{mark}/swagger-ui-bundle.js"></script>
<script defer src="/docs/{mark}/start.js"></script>
<div id="docs"></div>
<noscript><p>This page needs JavaScript. <a href="/schema">The OpenAPI document</a> does not.</p></noscript>
</html>
"""
# `validatorUrl`: otherwise the document is sent to a service on the internet. HEAD and OPTIONS are
# left out: they say nothing that the other methods do not say, and Swagger UI 5 stops in the middle
# of a document with some 140 operations.
_START = """SwaggerUIBundle({
  url: "/schema",
  dom_id: "#docs",
  deepLinking: true,
  docExpansion: "list",
  tryItOutEnabled: true,
  persistAuthorization: false,
  validatorUrl: null,
  responseInterceptor: (answer) => {
    if (!answer.url.endsWith("/schema")) return answer;
    const shown = JSON.parse(answer.text);
    for (const item of Object.values(shown.paths)) {
      delete item.head;
      delete item.options;
    }
    answer.text = JSON.stringify(shown);
    return answer;
  },
});
"""
_TYPES = {".js": "text/javascript", ".css": "text/css", ".txt": "text/plain"}
# Those of deploy/vendored.toml.
VENDORED = (
    "LICENSE.txt",
    "NOTICE.txt",
    "swagger-ui-bundle.js",
    "swagger-ui-bundle.js.LICENSE.txt",
    "swagger-ui.css",
)
START = "start.js"
ASSETS = (*VENDORED, START)


@get("/", scope=None, include_in_schema=False)
async def show_docs() -> Response[str]:
    """Show the page."""
    page = _PAGE.format(mark=content_mark())
    return Response(page, media_type=MediaType.HTML, headers=_HEADERS)


@get("/{mark:str}/{asset:str}", scope=None, include_in_schema=False)
async def show_asset(mark: Mark, asset: Asset) -> Response[bytes]:
    """Show a file of the page. It is read at each request, because few requests ask for it.

    With another mark the page is from a process of another version. The file of this one may do,
    and a browser must not keep it.
    """
    if asset not in ASSETS:
        raise Refused("not_found", "there is no such file; /docs is the page")
    kind = _TYPES[asset[asset.rindex(".") :]]
    caching = {"Cache-Control": CACHING} if mark == content_mark() else {}
    return Response(_read(asset), media_type=kind, headers=_HEADERS | caching)


@lru_cache(1)
def content_mark() -> str:
    """A mark that changes with the content of any file of the page."""
    return sha256(b"".join(sha256(_read(name)).digest() for name in ASSETS)).hexdigest()[:16]


def _read(asset: str) -> bytes:
    if asset == START:
        return _START.encode()
    return (files("leaseq_api") / "swagger_ui" / asset).read_bytes()


router = Router("/docs", route_handlers=[show_docs, show_asset])

__all__ = ["ASSETS", "CACHING", "POLICY", "VENDORED", "content_mark", "router"]
