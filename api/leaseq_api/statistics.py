"""The route of the statistics over time.

They are those of all tenants, so a request that is bound to a tenant is refused.
"""

from __future__ import annotations

from typing import Annotated, Any, get_args

from litestar import Request, Response, Router, get
from litestar.params import QueryParameter

from leaseq.model import NAME
from leaseq.operations.statistics.read import Statistics, Window
from leaseq_api import parameters as given
from leaseq_api.openapi import api_codes
from leaseq_api.refused import Refused
from leaseq_api.security.principal import require_unbound
from leaseq_api.service import Injected

# In the order that the window has in the answer: generators make one type of both.
StatisticsWindow = Annotated[
    Window,
    QueryParameter(
        description="How far back, until now",
        schema_extra={"type": "string", "enum": sorted(get_args(Window))},
    ),
]
_NAME = {"max_length": 128, "pattern": "^[A-Za-z0-9_.-]*$"}
OneQueue = Annotated[
    str, QueryParameter(description="Of this queue alone. Empty: of all", schema_extra=_NAME)
]
OneType = Annotated[
    str, QueryParameter(description="Of this task type alone. Empty: of all", schema_extra=_NAME)
]


@get(
    "/stats",
    scope="read",
    query=("window", "queue", "type"),
    codes=api_codes("lists_busy"),
)
async def statistics(
    request: Request[Any, Any, Any],
    service: Injected,
    window: StatisticsWindow = "1h",
    queue: OneQueue = "",
    type: OneType = "",  # noqa: A002
) -> Response[Statistics]:
    """Show rates, failures, waits and run times of a window that ends now, in steps and by type, of
    all tenants."""
    require_unbound(request.scope)
    _check_names(queue=queue, type=type)
    return Response(
        await service.lists.statistics(window, queue=queue or None, type_name=type or None)
    )


def _check_names(**names: str) -> None:
    for name, value in names.items():
        if value and not NAME.fullmatch(value):
            raise Refused(
                "parameter_invalid", f"{name} must be 1 to 128 characters of A-Z a-z 0-9 _ . -"
            )


router = Router(
    "/api", route_handlers=[statistics], before_request=given.check_query, tags=["operate"]
)

__all__ = ["router"]
