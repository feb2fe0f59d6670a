"""The route of the metrics of this process, for Prometheus.

The scope `metrics` is for keys without a tenant, because the counts are those of all tenants. A
request that is bound to a tenant is refused. Of several API processes on one port each answers for
all of them (shared_counts.py).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
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
from leaseq_api.shared_counts import CountsLink, linked_counts

FRESH_SECONDS = 1.0
STORE_SECONDS = 2.0


class ApiMetrics:
    """The metrics of the API, as one process answers them. The stores are asked at a scrape, at most
    once a second."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._asked = float("-inf")
        self._lock = asyncio.Lock()
        self._up: tuple[bool, bool] = (False, False)
        self._link: CountsLink | None = None
        exposition = Exposition(
            "api", self._counts, self._series, refresh=self._refresh, pids=self._pids
        )
        self.render = exposition.render

    @asynccontextmanager
    async def linked(self, descriptor: int | None) -> AsyncIterator[None]:
        """Answer for all processes of the port while the block lasts, where there are several.
        `descriptor`: of the link to the process that holds the port."""
        if descriptor is None:
            yield
            return
        async with linked_counts(descriptor, self._levels) as self._link:
            yield

    async def _refresh(self) -> None:
        if self._link is not None:
            await self._link.refresh()
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
        if self._link is None:
            yield from self._levels()

    def _levels(self) -> Iterator[Series]:
        yield Series("leaseq_held_answers", (), self._service.held.count)

    def _counts(self) -> Iterator[Series]:
        return TALLY.series() if self._link is None else self._link.series()

    def _pids(self) -> dict[str, int]:
        return {"": os.getpid()} if self._link is None else self._link.sums.pids


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
