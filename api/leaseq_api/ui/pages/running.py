"""The page of the tasks that run now."""

from __future__ import annotations

from litestar import Response, get

from leaseq_api.fleet import read_running
from leaseq_api.service import Injected
from leaseq_api.ui.page import AnyRequest, page


@get("/running", scope="read")
async def show_running(request: AnyRequest, service: Injected) -> Response[str]:
    """Show the page of the running tasks, the longest first."""
    running = await read_running(service, request)
    return await page(
        request,
        service,
        "running.html",
        title="Running",
        values={"running": running, "lease_seconds": service.config.lease_seconds},
    )


HANDLERS = (show_running,)

__all__ = ["HANDLERS"]
