"""The command that lists the workers."""

from __future__ import annotations

import click

from leaseq.cli import parameters
from leaseq.cli.output import moment, print_json, print_table
from leaseq.cli.servers import reading
from leaseq.cli.streams import note
from leaseq.model import WorkerRecord
from leaseq.operations.engine import Engine
from leaseq_api.schemas import WorkerList


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

    async def work(engine: Engine) -> list[WorkerRecord]:
        return await engine.list_workers(closed=closed, limit=limit)

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
            "closed",
        )
        print_table(titles, [_worker_row(worker) for worker in found])
    else:
        note("no worker is running: start one with `leaseq worker module:app`")


def _worker_row(worker: WorkerRecord) -> tuple[str, ...]:
    closed = f"{moment(worker.closed_at)}: {worker.close_reason}" if worker.closed_at else "-"
    return (
        worker.worker_id,
        worker.host,
        str(worker.pid),
        ",".join(worker.queues),
        worker.version,
        moment(worker.started_at),
        moment(worker.last_seen),
        closed,
    )


__all__ = ["workers"]
