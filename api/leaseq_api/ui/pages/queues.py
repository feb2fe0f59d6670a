"""The pages Queues and Queue."""

from __future__ import annotations

from litestar import Response, get

from leaseq_api.security.principal import principal_of
from leaseq_api.service import Injected
from leaseq_api.ui.page import AnyRequest, page


@get("/queues", scope="read")
async def show_queues(request: AnyRequest, service: Injected) -> Response[str]:
    """Show the page of all queues."""
    overview = await service.overview.read(principal_of(request.scope))
    values = {"overview": overview}
    return await page(request, service, "queues.html", title="Queues", values=values)


HANDLERS = (show_queues,)

__all__ = ["HANDLERS"]
