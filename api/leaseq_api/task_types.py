"""The route of one task type: its registration, its versions and its schema."""

from __future__ import annotations

from typing import Annotated

from litestar import Response, Router, get
from litestar.params import PathParameter
from msgspec.structs import asdict

from leaseq.model import NAME
from leaseq_api import parameters as given
from leaseq_api.openapi import api_codes
from leaseq_api.operate_schemas import TypeDetail, TypeVersion
from leaseq_api.refused import Refused
from leaseq_api.service import Injected, Service
from leaseq_api.views import type_view

TypeName = Annotated[
    str,
    PathParameter(
        description="The name of a task type",
        schema_extra={"min_length": 1, "max_length": 128, "pattern": "^[A-Za-z0-9_.-]+$"},
    ),
]


@get("/types/{type:str}", scope="read", codes=api_codes("lists_busy"))
async def show_type(service: Injected, type: TypeName) -> Response[TypeDetail]:  # noqa: A002
    """Show one task type, with its versions that workers have registered, the newest first."""
    return Response(await read_type(service, type))


async def read_type(service: Service, name: str) -> TypeDetail:
    """One registered task type. Raises `Refused`."""
    found = await service.lists.find_type(name) if NAME.fullmatch(name) else None
    if found is None:
        raise Refused("not_found", "no worker has registered a task type of this name")
    registered, versions = found
    return TypeDetail(
        **asdict(type_view(registered)),
        versions=[TypeVersion(**asdict(each)) for each in versions],
    )


router = Router(
    "/api", route_handlers=[show_type], before_request=given.check_query, tags=["operate"]
)

__all__ = ["TypeName", "read_type", "router"]
