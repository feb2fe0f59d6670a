"""The page Overview."""

from __future__ import annotations

from litestar import Response, get

from leaseq.operations.overview.needs import longest_wait
from leaseq_api.security.principal import principal_of
from leaseq_api.service import Injected
from leaseq_api.ui.page import AnyRequest, page

# Queues that the page shows: those in trouble come first.
MOST_QUEUES = 5


@get("/", scope="read")
async def show_overview(request: AnyRequest, service: Injected) -> Response[str]:
    """Show the page."""
    overview = await service.overview.read(principal_of(request.scope))
    values = {
        "overview": overview,
        "queues": overview.queues[:MOST_QUEUES],
        "longest_wait": longest_wait(overview),
    }
    return await page(request, service, "overview.html", title="Overview", values=values)


HANDLERS = (show_overview,)

__all__ = ["HANDLERS"]
