"""The route by which operators see how many tasks there are."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, Router, get

from leaseq_api import parameters as given
from leaseq_api.census_schemas import CensusCountView, CensusView
from leaseq_api.openapi import api_codes
from leaseq_api.security.principal import require_unbound
from leaseq_api.service import Injected

NOT_YET = CensusView(at=None, exact=False, pages=0, of_pages=0, counts=[])


@get("/", scope="read", codes=api_codes())
async def show_census(request: Request[Any, Any, Any], service: Injected) -> Response[CensusView]:
    """Estimate how many tasks of each queue and state there are, from a sample of at most 2,000
    pages. It is taken again when it is asked for and the last one is 30 seconds old."""
    require_unbound(request.scope)
    census = await service.engine.census.ask()
    if census is None:
        return Response(NOT_YET)
    counts = [
        CensusCountView(each.queue, each.state, each.count, each.error, each.fewer_than)
        for each in census.counts
    ]
    view = CensusView(
        at=census.at,
        exact=census.exact,
        pages=census.pages,
        of_pages=census.of_pages,
        counts=counts,
    )
    return Response(view)


router = Router(
    "/api/census", route_handlers=[show_census], before_request=given.check_query, tags=["operate"]
)

__all__ = ["router"]
