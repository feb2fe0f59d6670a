"""The route by which a tenant sees its quotas."""

from __future__ import annotations

import asyncio
from typing import Any

from litestar import Request, Response, Router, get

from leaseq_api import parameters as given
from leaseq_api.access_schemas import ByteQuotaUse, QueueQuotaUse, QuotaUse, QuotaView
from leaseq_api.openapi import api_codes
from leaseq_api.quotas.standing import Standing
from leaseq_api.security.principal import principal_of
from leaseq_api.service import Injected

MOST_QUEUES = 1_000


@get("/", scope="read", codes=api_codes())
async def show_quota(request: Request[Any, Any, Any], service: Injected) -> Response[QuotaView]:
    """Show the quotas of the tenant that submissions of this request belong to, and the rest of
    each."""
    tenant = principal_of(request.scope).submits_to
    standing = await service.quotas.fresh(tenant)
    if standing is None:
        nothing = QuotaView(
            tenant=tenant, unfinished=None, unfinished_per_queue=None, payload_bytes_per_day=None
        )
        return Response(nothing)
    return Response(_view(standing, asyncio.get_running_loop().time()))


def _view(standing: Standing, now: float) -> QuotaView:
    limits = standing.limits
    unfinished, in_queues, in_bytes = None, None, None
    if limits.unfinished is not None:
        unfinished = QuotaUse(**_use(limits.unfinished, standing.unfinished()))
    if limits.unfinished_per_queue is not None:
        in_queues = [
            QueueQuotaUse(queue=queue, **_use(limits.unfinished_per_queue, used))
            for queue, used in standing.fullest_queues(MOST_QUEUES)
        ]
    if limits.payload_bytes_per_day is not None:
        in_bytes = ByteQuotaUse(
            resets_in_seconds=standing.seconds_left(now),
            **_use(limits.payload_bytes_per_day, standing.payload_bytes(now)),
        )
    return QuotaView(
        tenant=standing.tenant,
        unfinished=unfinished,
        unfinished_per_queue=in_queues,
        payload_bytes_per_day=in_bytes,
    )


def _use(limit: int, used: int) -> dict[str, int]:
    return {"limit": limit, "used": used, "left": max(0, limit - used)}


router = Router(
    "/api/quota", route_handlers=[show_quota], before_request=given.check_query, tags=["access"]
)

__all__ = ["router"]
