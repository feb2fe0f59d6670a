"""The route of the check: the report of `leaseq check` for this process.

It tells of servers and roles, so a request that is bound to a tenant is refused. Passwords are
masked as they are everywhere.
"""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, Router, get

from leaseq_api import parameters as given
from leaseq_api.openapi import api_codes
from leaseq_api.operate_schemas import Check
from leaseq_api.security.principal import require_unbound
from leaseq_api.service import Injected


@get("/check", scope="read", codes=api_codes())
async def show_check(request: Request[Any, Any, Any], service: Injected) -> Response[Check]:
    """Check the servers as `leaseq check` does, with the configuration of this process. The answer is
    at most ten seconds old."""
    require_unbound(request.scope)
    return Response(await service.check.read())


router = Router(
    "/api", route_handlers=[show_check], before_request=given.check_query, tags=["operate"]
)

__all__ = ["router"]
