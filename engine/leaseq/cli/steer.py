"""How does an operator stop a task, or send it on its way again?"""

from __future__ import annotations

import click

from leaseq.cli import parameters
from leaseq.cli.stores import with_engine
from leaseq.engine.engine import Engine
from leaseq.model import Glimpse, State


@click.command()
@parameters.task_id
@parameters.tenant
def cancel(task_id: str, tenant: str) -> None:
    """Stop the task ID: at once if it waits; if it runs, its worker is asked to."""

    async def work(engine: Engine) -> State:
        return await engine.cancel(task_id, tenant=tenant)

    state = with_engine(work)
    running = state is State.PROCESSING
    click.echo(f"{task_id} {'is running; its worker was asked to stop it' if running else f'is {state}'}")


@click.command()
@parameters.task_id
@parameters.tenant
def redrive(task_id: str, tenant: str) -> None:
    """Run the task ID, which ended in FAILED or CANCELLED, again, with all its attempts."""

    async def work(engine: Engine) -> Glimpse:
        return await engine.redrive(task_id, tenant=tenant)

    again = with_engine(work)
    click.echo(f"{task_id} is {again.state} in queue {again.queue}")


__all__ = ["cancel", "redrive"]
