"""The command that lists the workers and the services beside them."""

from __future__ import annotations

import click

from leaseq.cli import parameters
from leaseq.cli.output import moment, one_line, print_json, print_line, print_table
from leaseq.cli.servers import reading
from leaseq.cli.streams import note
from leaseq.operations.engine import Engine
from leaseq.operations.why.wording import span
from leaseq_api.operate_schemas import ServiceList, ServiceView, WorkerList, WorkerView
from leaseq_api.views import service_view, worker_view

# Longer than the API waits: a person at a terminal has time.
HOLDINGS_SECONDS = 5.0


@click.command()
@click.option("--all", "closed", is_flag=True, help="Include closed workers.")
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=200,
    show_default=True,
    help="Maximum number of rows.",
)
@click.option(
    "--services", "alone", is_flag=True, help="Only the supervisors, reapers and API processes."
)
@parameters.as_json
def workers(closed: bool, limit: int, alone: bool, as_json: bool) -> None:
    """List the workers, newest first: one line for each process that runs handlers. The supervisors,
    reapers and API processes follow in a table of their own."""

    async def work(engine: Engine) -> list[WorkerView]:
        found = await engine.list_workers(closed=closed, limit=limit)
        open_ones = [worker for worker in found if worker.closed_at is None]
        holdings = await engine.find_holdings(open_ones, seconds=HOLDINGS_SECONDS) or {}
        return [worker_view(worker, holdings.get(worker.worker_id)) for worker in found]

    async def services(engine: Engine) -> list[ServiceView]:
        return [service_view(each) for each in await engine.list_services()]

    async def both(engine: Engine) -> tuple[list[WorkerView], list[ServiceView]]:
        return [] if alone else await work(engine), await services(engine)

    if as_json:
        print_json(
            ServiceList(services=reading(services)) if alone else WorkerList(workers=reading(work))
        )
        return
    found, beside = reading(both)
    if not found and not alone:
        note("no worker is running: start one with `leaseq worker module:app`")
    if alone and not beside:
        note("no supervisor, reaper or API has announced itself")
    _print(found, beside)


def _print(found: list[WorkerView], services: list[ServiceView]) -> None:
    if found:
        titles = (
            *("worker", "host", "supervisor", "queues", "version", "started", "last seen"),
            *("lease left", "holds", "closed"),
        )
        print_table(titles, [_worker_row(worker) for worker in found])
    if found and services:
        print_line()
    if services:
        columns = ("service", "host", "pid", "version", "started", "last seen", "state", "about")
        print_table(columns, [_service_row(service) for service in services])


def _service_row(service: ServiceView) -> tuple[str, ...]:
    if service.ended_at is not None:
        state = f"stopped {moment(service.ended_at)}"
    else:
        state = "runs" if service.alive else f"silent for {span(service.silent_seconds)}"
    return (
        service.role,
        service.host,
        str(service.pid),
        service.version,
        moment(service.started_at),
        moment(service.last_seen),
        state,
        one_line(bytes(service.detail)),
    )


def _worker_row(worker: WorkerView) -> tuple[str, ...]:
    closed = f"{moment(worker.closed_at)}: {worker.close_reason}" if worker.closed_at else "-"
    return (
        worker.worker_id,
        worker.host,
        str(worker.pid),
        ",".join(worker.queues),
        worker.version,
        moment(worker.started_at),
        moment(worker.last_seen),
        "-" if worker.lease_left_seconds is None else f"{worker.lease_left_seconds:.1f} s",
        "-" if worker.held_count is None else str(worker.held_count),
        closed,
    )


__all__ = ["workers"]
