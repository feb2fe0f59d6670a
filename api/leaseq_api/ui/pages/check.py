"""The page of the check."""

from __future__ import annotations

from litestar import Response, get

from leaseq_api.security.principal import require_unbound
from leaseq_api.service import Injected
from leaseq_api.ui.page import AnyRequest, page

NAMES = {"postgres": "Postgres", "schema": "schema", "redis": "Redis"}


@get("/check", scope="read")
async def show_check(request: AnyRequest, service: Injected) -> Response[str]:
    """Show the page of the check."""
    require_unbound(request.scope)
    values = {"check": await service.check.read(), "names": NAMES}
    return await page(request, service, "check.html", title="Check", values=values)


HANDLERS = (show_check,)

__all__ = ["HANDLERS"]
