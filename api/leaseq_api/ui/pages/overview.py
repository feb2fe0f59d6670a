"""The page Overview."""

from __future__ import annotations

from litestar import Response, get

from leaseq.operations.overview.needs import longest_wait
from leaseq_api.security.principal import principal_of
from leaseq_api.service import Injected
from leaseq_api.ui.charts import line
from leaseq_api.ui.page import AnyRequest, page
from leaseq_api.ui.pages.queues import rates_of, statistics_of
from leaseq_api.ui.pages.submit import first_steps

# Queues that the page shows: those in trouble come first.
MOST_QUEUES = 5


@get("/", scope="read")
async def show_overview(request: AnyRequest, service: Injected) -> Response[str]:
    """Show the page."""
    overview = await service.overview.read(principal_of(request.scope))
    statistics = await statistics_of(request, service)
    steps = [step.figures for step in statistics.steps] if statistics is not None else []
    values = {
        "overview": overview,
        "rates": rates_of(statistics),
        "total": None if statistics is None else statistics.total,
        "ended": line([None if each is None else each.ended_per_second for each in steps]),
        "failing": line([None if each is None else each.failing_share or 0.0 for each in steps]),
        "queues": overview.queues[:MOST_QUEUES],
        "longest_wait": longest_wait(overview),
    }
    quiet = statistics is None or statistics.total is None or statistics.total.submitted == 0
    empty = quiet and not any(each.lanes and each.lanes.waiting for each in overview.queues)
    values["first"] = await first_steps(request, service) if empty else None
    values["origin"] = f"{request.scope['scheme']}://{request.headers.get('host', 'localhost')}"
    return await page(request, service, "overview.html", title="Overview", values=values)


HANDLERS = (show_overview,)

__all__ = ["HANDLERS"]
