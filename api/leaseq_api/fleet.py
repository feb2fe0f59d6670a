"""The routes about processes and the tasks that they run.

The dashboard shows the same. A key that is bound to a tenant sees its own tasks alone, and no usual
run times, because those are of all tenants.
"""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, Response, Router, get
from litestar.params import PathParameter
from msgspec.structs import asdict

from leaseq.dispatch.worker_holdings import Holding
from leaseq.operations.due import Due
from leaseq.operations.running import Running
from leaseq_api import parameters as given
from leaseq_api.openapi import api_codes
from leaseq_api.operate_schemas import ServiceList, WorkerDetail, WorkerType
from leaseq_api.refused import Refused
from leaseq_api.security.principal import may_read_contents, principal_of
from leaseq_api.service import Injected, Service
from leaseq_api.views import service_view, worker_view

AnyRequest = Request[Any, Any, Any]
HOLDINGS_SECONDS = 2.0
WORKER_ID_LENGTH = 255

WorkerId = Annotated[
    str,
    PathParameter(
        description="The id of a worker",
        schema_extra={"min_length": 1, "max_length": WORKER_ID_LENGTH},
    ),
]


@get("/services", scope="read", codes=api_codes("lists_busy"))
async def list_services(service: Injected) -> Response[ServiceList]:
    """List the supervisors, reapers and APIs by role: those that run, and those that have stopped a
    short while ago."""
    found = await service.lists.list_services()
    return Response(ServiceList(services=[service_view(each) for each in found]))


@get("/workers/{worker_id:str}", scope="read", codes=api_codes("lists_busy"))
async def show_worker(
    request: AnyRequest, service: Injected, worker_id: WorkerId
) -> Response[WorkerDetail]:
    """Show one worker, with the task types that it runs."""
    return Response(await read_worker(service, request, worker_id))


@get("/running", scope="read", codes=api_codes("lists_busy"))
async def list_running(request: AnyRequest, service: Injected) -> Response[Running]:
    """List the tasks that run now, the longest first, at most 200. Of each worker the tasks that it
    took first are looked at, 800 in total."""
    return Response(await read_running(service, request))


async def read_worker(service: Service, request: AnyRequest, worker_id: str) -> WorkerDetail:
    """One worker, as the principal of a request may see it. Raises `Refused`."""
    found = None
    if len(worker_id) <= WORKER_ID_LENGTH and worker_id.isprintable():
        found = await service.lists.find_worker(worker_id)
    if found is None:
        raise Refused("not_found", "no worker has this id; it may be pruned")
    worker, types = found
    holdings: dict[str, Holding] = {}
    if worker.closed_at is None:
        holdings = await service.engine.find_holdings([worker], seconds=HOLDINGS_SECONDS) or {}
    whole = principal_of(request.scope).tenant is None
    view = worker_view(worker, holdings.get(worker.worker_id), whole=whole)
    return WorkerDetail(
        **asdict(view), types=[WorkerType(type=name, version=version) for name, version in types]
    )


async def read_running(
    service: Service, request: AnyRequest, *, worker_id: str | None = None
) -> Running:
    """The running tasks that the principal of a request may see, of one worker or of all."""
    tenant = principal_of(request.scope).tenant
    usual = await service.usual_runs.read(tenant)
    return await service.engine.running_reader(service.lists).read(
        tenant=tenant,
        usual=usual,
        contents=may_read_contents(request.scope),
        worker_id=worker_id,
    )


@get("/due", scope="read", codes=api_codes("lists_busy"))
async def list_due(request: AnyRequest, service: Injected) -> Response[Due]:
    """List the SCHEDULED tasks that are overdue or due within an hour: the first 50, and how many in
    each minute."""
    return Response(await read_due_of(service, request))


async def read_due_of(service: Service, request: AnyRequest) -> Due:
    """The SCHEDULED tasks that the principal of a request may see."""
    tenant = principal_of(request.scope).tenant
    return await service.lists.due(tenant=tenant, contents=may_read_contents(request.scope))


router = Router(
    "/api",
    route_handlers=[list_services, show_worker, list_running, list_due],
    before_request=given.check_query,
    tags=["operate"],
)

__all__ = ["read_due_of", "read_running", "read_worker", "router"]
