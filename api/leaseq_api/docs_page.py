"""The interactive page about the API, at /docs.

Swagger UI shows the OpenAPI document and sends requests. Its files are a part of the package and
come from this service, so the page needs no internet. Invariants: the policy of the page allows no
other origin, no inline script and no inline style. The page keeps an entered key in its memory
only.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Annotated

from litestar import Response, Router, get
from litestar.enums import MediaType
from litestar.params import PathParameter

from leaseq_api.refused import Refused

Asset = Annotated[str, PathParameter(description="The name of a file of the page")]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer"}
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>leaseq API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/swagger-ui.css">
<script defer src="/docs/swagger-ui-bundle.js"></script>
<script defer src="/docs/start.js"></script>
<div id="docs"></div>
<noscript><p>This page needs JavaScript. <a href="/schema">The OpenAPI document</a> does not.</p></noscript>
</html>
"""
# `validatorUrl`: otherwise the document is sent to a service on the internet.
_START = """SwaggerUIBundle({
  url: "/schema",
  dom_id: "#docs",
  deepLinking: true,
  docExpansion: "list",
  tryItOutEnabled: true,
  persistAuthorization: false,
  validatorUrl: null,
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


@get("/", scope=None, include_in_schema=False)
async def show_docs() -> Response[str]:
    """Show the page."""
    return Response(_PAGE, media_type=MediaType.HTML, headers=_HEADERS)


@get("/start.js", scope=None, include_in_schema=False)
async def show_start() -> Response[str]:
    """Show the script that starts Swagger UI."""
    return Response(_START, media_type=_TYPES[".js"], headers=_HEADERS)


@get("/{asset:str}", scope=None, include_in_schema=False)
async def show_asset(asset: Asset) -> Response[bytes]:
    """Show a file of Swagger UI. It is read at each request, because few requests ask for it."""
    if asset not in VENDORED:
        raise Refused("not_found", "there is no such file; /docs is the page")
    content = (files("leaseq_api") / "swagger_ui" / asset).read_bytes()
    kind = _TYPES[asset[asset.rindex(".") :]]
    return Response(content, media_type=kind, headers=_HEADERS)


router = Router("/docs", route_handlers=[show_docs, show_start, show_asset])

__all__ = ["POLICY", "VENDORED", "router"]
