"""The command that lists the workers."""

from __future__ import annotations

import click

from leaseq.cli import parameters
from leaseq.cli.output import moment, print_json, print_table
from leaseq.cli.servers import reading
from leaseq.cli.streams import note
from leaseq.operations.engine import Engine
from leaseq_api.operate_schemas import (
    WorkerList,
    WorkerView,
)
from leaseq_api.views import worker_view

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
@parameters.as_json
def workers(closed: bool, limit: int, as_json: bool) -> None:
    """List the workers, newest first: one line for each process that runs handlers."""

    async def work(engine: Engine) -> list[WorkerView]:
        found = await engine.list_workers(closed=closed, limit=limit)
        open_ones = [worker for worker in found if worker.closed_at is None]
        holdings = await engine.find_holdings(open_ones, seconds=HOLDINGS_SECONDS) or {}
        return [worker_view(worker, holdings.get(worker.worker_id)) for worker in found]

    found = reading(work)
    if as_json:
        print_json(WorkerList(workers=found))
    elif found:
        titles = (
            "worker",
            "host",
            "supervisor",
            "queues",
            "version",
            "started",
            "last seen",
            "lease left",
            "holds",
            "closed",
        )
        print_table(titles, [_worker_row(worker) for worker in found])
    else:
        note("no worker is running: start one with `leaseq worker module:app`")


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
