"""Build the Litestar application of the API.

It has the routes, the table of problems, the checks in front of both, and a lifespan that holds the
engine. Nothing connects before the lifespan begins.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from litestar import Litestar
from litestar.di import Provide
from litestar.exceptions import HTTPException

from leaseq.config import Config
from leaseq.errors import LeaseqError
from leaseq.metrics.event_counts import count_events
from leaseq_api import (
    access,
    actions,
    audit,
    census,
    check,
    docs_page,
    fleet,
    health,
    life,
    metrics,
    notices,
    operate,
    overview,
    problem_pages,
    problems,
    statistics,
    task_types,
    tasks,
)
from leaseq_api.batch.route import router as batch_router
from leaseq_api.failures.route import router as failure_router
from leaseq_api.follow import fleet_events
from leaseq_api.kill_tests import KillTests
from leaseq_api.limits.queues import router as queue_router
from leaseq_api.limits.route import router as limit_router
from leaseq_api.openapi import openapi_config
from leaseq_api.quotas.route import router as quota_router
from leaseq_api.refused import Refused
from leaseq_api.schedules.route import router as schedule_router
from leaseq_api.security.gate import Gate
from leaseq_api.security.hosts import Hosts
from leaseq_api.security.principal import SCOPE, guard
from leaseq_api.security.proxies import Proxies
from leaseq_api.service import open_service, provide_service
from leaseq_api.ui import router as ui
from leaseq_api.ui.sampler import sampling
from leaseq_api.ui.shared_parts import SharedParts

ROUTERS = (
    tasks.router,
    actions.router,
    life.router,
    batch_router,
    operate.router,
    failure_router,
    schedule_router,
    limit_router,
    queue_router,
    fleet_events.router,
    access.router,
    quota_router,
    audit.router,
    notices.router,
    statistics.router,
    census.router,
    health.router,
    metrics.router,
    problem_pages.router,
    docs_page.router,
    overview.router,
    fleet.router,
    task_types.router,
    check.router,
)


def create_app(config: Config, *, kill_tests: Path | None = None) -> Litestar:
    """The application of one process. Connects when its lifespan begins. `kill_tests`: the socket
    of the `leaseq dev` that has started it."""

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with open_service(config) as service:
            app.state.service = service
            app.state.kill_tests = None if kill_tests is None else KillTests(kill_tests)
            app.state.metrics = metrics.ApiMetrics(service)
            app.state.shared_parts = SharedParts()
            stop_counting = count_events()
            try:
                async with sampling(app, service.overview):
                    yield
            finally:
                stop_counting()

    app = Litestar(
        route_handlers=[*ROUTERS, *ui.routes(config, kill_tests=kill_tests is not None)],
        lifespan=[lifespan],
        guards=[guard],
        dependencies={"service": Provide(provide_service, sync_to_thread=False)},
        exception_handlers={
            Refused: problems.of_refusal,
            LeaseqError: problems.of_leaseq,
            HTTPException: problems.of_http,
            Exception: problems.of_fault,
        },
        openapi_config=openapi_config(
            version("leaseq"), key_required=config.require_idempotency_key
        ),
        request_max_body_size=config.payload_max_bytes,
        logging_config=None,
        debug=False,
    )
    _check_scopes(app)
    app.asgi_handler = Gate(app, app.asgi_handler, Hosts(config), Proxies(config))
    return app


def _check_scopes(app: Litestar) -> None:
    """Raise `TypeError` for a route that does not name the scope it needs."""
    for route in app.routes:
        for handler in getattr(route, "route_handlers", ()):
            # Those of the framework itself: the OpenAPI document, and answers to OPTIONS.
            if handler.fn.__module__.startswith("litestar."):
                handler.opt.setdefault(SCOPE, None)
            elif SCOPE not in handler.opt:
                raise TypeError(f"{handler} has no `scope=` in its decorator")


__all__ = ["create_app"]
