"""The page of the tasks that run now."""

from __future__ import annotations

from litestar import Response, get
from msgspec import Raw
from msgspec.structs import replace

from leaseq.operations.running import Running
from leaseq_api.fleet import read_running
from leaseq_api.service import Injected, Service
from leaseq_api.ui.page import AnyRequest, page


@get("/running", scope="read")
async def show_running(request: AnyRequest, service: Injected) -> Response[str]:
    """Show the page of the running tasks, the longest first."""
    running = await masked_running(request, service)
    return await page(
        request,
        service,
        "running.html",
        title="Running",
        values={"running": running, "lease_seconds": service.config.lease_seconds},
    )


async def masked_running(
    request: AnyRequest, service: Service, *, worker_id: str | None = None
) -> Running:
    """The running tasks of one worker or of all, without the values that are masked."""
    running = await read_running(service, request, worker_id=worker_id)
    tasks = [
        replace(
            task, progress=Raw(await service.redactor.mask_value(task.type, bytes(task.progress)))
        )
        if task.progress
        else task
        for task in running.tasks or ()
    ]
    return running if running.tasks is None else replace(running, tasks=tasks)


HANDLERS = (show_running,)

__all__ = ["HANDLERS", "masked_running"]
