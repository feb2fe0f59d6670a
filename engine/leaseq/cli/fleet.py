"""Who works, on what, and how much waits there?"""

from __future__ import annotations

from typing import Any

import click
import msgspec

from leaseq.cli import parameters
from leaseq.cli.paper import moment, print_json, print_table
from leaseq.cli.stores import reading, with_engine
from leaseq.dispatch.survey import Depths
from leaseq.engine.engine import Engine
from leaseq.records import QueueRecord, WorkerRecord

DEPTHS_SECONDS = 5.0
LANES = ("high", "normal", "low", "suspect", "parked")

Row = tuple[QueueRecord, Depths | None]


@click.command()
@click.option("--all", "closed", is_flag=True, help="Also those that are gone.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=200, show_default=True, help="How many.")
@parameters.as_json
def workers(closed: bool, limit: int, as_json: bool) -> None:
    """List the workers, newest first: one line for each process that runs handlers."""

    async def work(engine: Engine) -> list[WorkerRecord]:
        return await engine.stores.fleet.list_workers(closed=closed, limit=limit)

    found = reading(work)
    if as_json:
        print_json(found)
    elif found:
        titles = ("worker", "host", "supervisor", "queues", "version", "started", "last seen", "closed")
        print_table(titles, [_worker_row(worker) for worker in found])
    else:
        click.echo("leaseq: no worker is running: start one with `leaseq worker module:app`", err=True)


@click.group(invoke_without_command=True)
@parameters.as_json
@click.pass_context
def queues(ctx: click.Context, as_json: bool) -> None:
    """List the queues and what waits in each.

    MORE SINCE: a lane is full, and more tasks wait in the ledger; the first of them was submitted then.
    """
    if ctx.invoked_subcommand is not None:
        return
    found = reading(_list_queues)
    if as_json:
        print_json([_queue_json(record, depths) for record, depths in found])
    elif found:
        print_table(("queue", "state", *LANES, "more since"), [_queue_row(record, depths) for record, depths in found])
    if any(depths is None for _, depths in found):
        click.echo("leaseq: Redis does not answer, so what waits cannot be counted", err=True)


@queues.command()
@parameters.queue_name
def pause(name: str) -> None:
    """Start no more tasks of queue NAME. What runs goes on, and submissions are still taken."""
    _pause(name, paused=True)


@queues.command()
@parameters.queue_name
def resume(name: str) -> None:
    """Start tasks of queue NAME again."""
    _pause(name, paused=False)


def _pause(name: str, *, paused: bool) -> None:
    async def work(engine: Engine) -> bool:
        known = any(record.name == name for record in await engine.stores.fleet.list_queues())
        await engine.pause(name, paused=paused)
        return known

    known = with_engine(work)
    click.echo(f"queue {name} is {'paused' if paused else 'open'}")
    if not known:
        click.echo(f"leaseq: queue {name} was not known before: is the name right?", err=True)


async def _list_queues(engine: Engine) -> list[Row]:
    records = await engine.stores.fleet.list_queues()
    found = await engine.stores.survey.depths_of([record.name for record in records], seconds=DEPTHS_SECONDS)
    return [(record, found.get(record.name)) for record in records]


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


def _queue_row(record: QueueRecord, depths: Depths | None) -> tuple[str, ...]:
    counts = ["-"] * len(LANES) if depths is None else [str(getattr(depths, lane)) for lane in LANES]
    since = moment(None if depths is None else depths.backlog_since)
    return (record.name, "paused" if record.paused else "open", *counts, since)


def _queue_json(record: QueueRecord, depths: Depths | None) -> dict[str, Any]:
    counted = None if depths is None else {"waiting": depths.waiting, **msgspec.structs.asdict(depths)}
    return {"name": record.name, "paused": record.paused, "depths": counted}


__all__ = ["queues", "workers"]
