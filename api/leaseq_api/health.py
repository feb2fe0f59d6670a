"""The two health checks: whether the process is alive, and whether it is ready.

`/health/live` uses no store, because a restart would not fix a missing store. `/health/ready` asks
Postgres through the pool of the submissions, because without Postgres no submission can be
accepted. Redis is reported, but its absence does not make the service unready: submissions are
recorded anyway. With LEASEQ_REQUIRE_STANDBY the service is unready while no synchronous standby is
connected.
"""

from __future__ import annotations

import asyncio

from litestar import Response, Router, get

from leaseq.errors import LeaseqError, SchemaMismatch, ServerUnreachable
from leaseq_api.openapi import any_codes
from leaseq_api.refused import Refused
from leaseq_api.schemas import Live, PostgresState, Ready, RedisState
from leaseq_api.service import Injected, Service

POSTGRES_SECONDS = 2.0
REDIS_SECONDS = 1.0


@get("/live", scope=None, codes=any_codes())
async def live() -> Response[Live]:
    """Report that the process answers."""
    return Response(Live())


@get("/ready", scope=None, codes=any_codes("not_ready"))
async def ready(service: Injected) -> Response[Ready]:
    """Report whether tasks can be accepted."""
    postgres, redis = await asyncio.gather(_postgres(service), _redis(service))
    if postgres == "up" and not service.stopping.is_set():
        return Response(Ready(redis=redis))
    why = "the service is stopping" if postgres == "up" else f"Postgres: {postgres}"
    raise Refused("not_ready", why, postgres=postgres, redis=redis)


async def _postgres(service: Service) -> PostgresState:
    try:
        async with asyncio.timeout(POSTGRES_SECONDS):
            settings = await service.engine.read_server_settings()
            await service.check_schema()
    except SchemaMismatch:
        return "wrong schema"
    except (LeaseqError, TimeoutError):
        return "read only" if service.engine.takes_no_writes else "away"
    if settings.in_recovery or settings.read_only == "on":
        return "read only"
    if service.config.require_standby and (
        not settings.synchronous_standby_names or settings.standbys == 0
    ):
        return "no standby"
    return "up"


async def _redis(service: Service) -> RedisState:
    try:
        async with asyncio.timeout(REDIS_SECONDS):
            await service.engine.check_dispatch()
    except (ServerUnreachable, TimeoutError):
        return "away"
    return "up"


router = Router("/health", route_handlers=[live, ready], tags=["health"])

__all__ = ["router"]
