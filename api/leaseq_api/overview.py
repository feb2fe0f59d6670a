"""The route of the overview, which the dashboard and `leaseq top` also show."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, Router, get

from leaseq.operations.overview.answer import Overview
from leaseq_api import parameters as given
from leaseq_api.openapi import api_codes
from leaseq_api.security.principal import principal_of
from leaseq_api.service import Injected


@get("/overview", scope="read", codes=api_codes("lists_busy"))
async def show_overview(request: Request[Any, Any, Any], service: Injected) -> Response[Overview]:
    """Show the cluster at one moment: queues, processes, and what needs a person. It is at most a
    second old."""
    return Response(await service.overview.read(principal_of(request.scope)))


router = Router(
    "/api", route_handlers=[show_overview], before_request=given.check_query, tags=["operate"]
)

__all__ = ["router"]
