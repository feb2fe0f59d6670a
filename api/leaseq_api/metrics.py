"""The route of the metrics of this process, for Prometheus.

The scope `metrics` is for keys without a tenant, because the counts are those of all tenants. A
request that is bound to a tenant is refused. Each API process answers for itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from time import monotonic
from typing import Any

from litestar import Request, Response, Router, get

from leaseq.errors import LeaseqError
from leaseq.metrics.exposition import PLAIN, Exposition
from leaseq.metrics.tally import TALLY, Series
from leaseq_api import parameters as given
from leaseq_api.openapi import api_codes
from leaseq_api.security.principal import require_unbound
from leaseq_api.service import Service

FRESH_SECONDS = 1.0
STORE_SECONDS = 2.0


class ApiMetrics:
    """The metrics of one process. The stores are asked at a scrape, at most once a second."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._asked = float("-inf")
        self._lock = asyncio.Lock()
        self._up: tuple[bool, bool] = (False, False)
        exposition = Exposition("api", TALLY.series, self._series, refresh=self._refresh)
        self.render = exposition.render

    async def _refresh(self) -> None:
        async with self._lock:
            if monotonic() - self._asked >= FRESH_SECONDS:
                self._up = await asyncio.gather(self._ask_ledger(), self._ask_dispatch())
                self._asked = monotonic()

    async def _ask_ledger(self) -> bool:
        try:
            async with asyncio.timeout(STORE_SECONDS):
                await self._service.engine.read_server_settings()
        except (LeaseqError, TimeoutError):
            return False
        return True

    async def _ask_dispatch(self) -> bool:
        try:
            async with asyncio.timeout(STORE_SECONDS):
                await self._service.engine.check_dispatch()
        except (LeaseqError, TimeoutError):
            return False
        return True

    def _series(self) -> Iterator[Series]:
        ledger, dispatch = self._up
        yield Series("leaseq_store_up", ("ledger",), ledger)
        yield Series("leaseq_store_up", ("dispatch",), dispatch)
        yield Series("leaseq_held_answers", (), self._service.held.count)


# The limit of a key is about the addresses under /api.
CODES = tuple(code for code in api_codes() if code != "rate_limited")


@get("/metrics", scope="metrics", codes=CODES)
async def metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Show the metrics of this process, in the format of Prometheus or of OpenMetrics."""
    require_unbound(request.scope)
    rendering: ApiMetrics = request.app.state.metrics
    text, media_type = await rendering.render(request.headers.get("accept", ""))
    if media_type == PLAIN:
        media_type = PLAIN.removesuffix("; charset=utf-8")  # which the framework adds to texts
    return Response(text, media_type=media_type)


router = Router("/", route_handlers=[metrics], before_request=given.check_query, tags=["operate"])

__all__ = ["ApiMetrics", "router"]
