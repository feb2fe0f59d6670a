"""The page Overview.

Regions are fetched one by one, so a read for one region is made for that region alone. Lists are read
every few seconds for all who look.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from litestar import Response, get

from leaseq.errors import LeaseqError
from leaseq.ledger.failures import FailureFilter, FailureGroup
from leaseq.ledger.notices import Mark
from leaseq.operations.overview.needs import longest_wait
from leaseq.operations.running import Running
from leaseq.operations.statistics.read import WINDOWS, Statistics, Window
from leaseq_api.fleet import read_running
from leaseq_api.security.principal import Principal, may_read_contents, principal_of
from leaseq_api.service import Injected, Service
from leaseq_api.statistics import StatisticsWindow
from leaseq_api.ui.charts import line
from leaseq_api.ui.history_chart import (
    HEIGHT,
    OUTCOMES,
    WAITS_HEIGHT,
    WIDTH,
    WORDS,
    chart_of,
)
from leaseq_api.ui.page import PART, AnyRequest, page
from leaseq_api.ui.pages.queues import causes_of, rates_of, statistics_of
from leaseq_api.ui.pages.submit import first_steps

# Queues, failures and running tasks that the page shows.
MOST_LISTED = 5


@get("/", scope="read", query=("window",))
async def show_overview(
    request: AnyRequest, service: Injected, window: StatisticsWindow = "1h"
) -> Response[str]:
    """Show the page."""
    part = request.query_params.get(PART)
    overview = await service.overview.read(principal_of(request.scope))
    statistics = await statistics_of(request, service)
    values = {
        "overview": overview,
        "rates": rates_of(statistics),
        "total": None if statistics is None else statistics.total,
        "queues": overview.queues[:MOST_LISTED],
        "longest_wait": longest_wait(overview),
        "first": None,
        "window": window,
        "windows": tuple(WINDOWS),
        "bound": principal_of(request.scope).tenant is not None,
    } | _sparks(statistics)
    if part in (None, "history"):
        values |= await _history(request, service, window)
    if part in (None, "failures"):
        values["failures"] = await _failures(service, principal_of(request.scope), window)
        values["contents"] = may_read_contents(request.scope)
    if part in (None, "longest"):
        values["running"] = await _running(request, service)
    quiet = statistics is None or statistics.total is None or statistics.total.submitted == 0
    empty = quiet and not any(each.lanes and each.lanes.waiting for each in overview.queues)
    if empty and part is None:
        values["first"] = await first_steps(request, service)
    values["origin"] = f"{request.scope['scheme']}://{request.headers.get('host', 'localhost')}"
    return await page(request, service, "overview.html", title="Overview", values=values)


def _sparks(statistics: Statistics | None) -> dict[str, Any]:
    steps = [step.figures for step in statistics.steps] if statistics is not None else []
    return {
        "ended": line([None if each is None else each.ended_per_second for each in steps]),
        "failing": line([None if each is None else each.failing_share or 0.0 for each in steps]),
    }


async def _history(request: AnyRequest, service: Service, window: Window) -> dict[str, Any]:
    """The chart of a window, with the marks that the principal may see."""
    principal, chart = principal_of(request.scope), None
    statistics: Statistics | None = None
    if principal.tenant is None:
        with suppress(LeaseqError):
            statistics = await service.statistics.read(window)
            chart = chart_of(statistics, await _marks(service, principal))
    return {
        "chart": chart,
        "unknown": None if statistics is None else statistics.unknown,
        "outcomes": [WORDS.get(outcome, outcome) for outcome in OUTCOMES],
        "width": int(WIDTH),
        "height": int(HEIGHT),
        "waits": int(WAITS_HEIGHT),
    }


async def _marks(service: Service, principal: Principal) -> list[Mark]:
    """The diary is for operators of the cluster."""
    if not principal.may("operate"):
        return []
    return await service.reads.read("marks", service.lists.list_marks)


async def _failures(
    service: Service, principal: Principal, window: Window
) -> list[FailureGroup] | None:
    """The causes of failures that were seen first within a window. None: not known."""
    seconds = float(WINDOWS[window][0])
    wanted = FailureFilter(window_seconds=seconds, new_seconds=seconds, limit=MOST_LISTED)
    return await causes_of(service, principal, wanted)


async def _running(request: AnyRequest, service: Service) -> Running | None:
    """The running tasks. None: not known. No progress is shown, so a scope changes nothing."""
    with suppress(LeaseqError):
        return await service.reads.read(
            ("running", principal_of(request.scope).tenant),
            lambda: read_running(service, request),
        )
    return None


HANDLERS = (show_overview,)

__all__ = ["HANDLERS"]
