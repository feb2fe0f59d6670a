"""The commands by which an operator cancels a task or runs it again."""

from __future__ import annotations

import click

from leaseq.cli import parameters
from leaseq.cli.output import print_json
from leaseq.cli.stores import with_engine
from leaseq.cli.streams import say
from leaseq.model import State, Task
from leaseq.operations.engine import Engine
from leaseq_api.views import task_view


@click.command()
@parameters.task_id
@parameters.tenant
@parameters.as_json
def cancel(task_id: str, tenant: str, as_json: bool) -> None:
    """Cancel task ID. A waiting task ends immediately; for a running task, its worker is asked to
    stop it."""

    async def work(engine: Engine) -> tuple[State, Task | None]:
        client = engine.for_tenant(tenant)
        state = await client.cancel(task_id)
        return state, await client.find(task_id) if as_json else None

    state, task = with_engine(work)
    if task is not None:
        print_json(task_view(task))
        return
    running = state is State.PROCESSING
    say(f"{task_id} {'is running; its worker was asked to stop it' if running else f'is {state}'}")


@click.command()
@parameters.task_id
@parameters.tenant
@parameters.as_json
def redrive(task_id: str, tenant: str, as_json: bool) -> None:
    """Retry task ID, which is FAILED or CANCELLED, from its first attempt."""

    async def work(engine: Engine) -> tuple[str, Task | None]:
        client = engine.for_tenant(tenant)
        again = await client.redrive(task_id)
        task = await client.find(task_id) if as_json else None
        return f"{task_id} is {again.state} in queue {again.queue}", task

    line, task = with_engine(work)
    if task is not None:
        print_json(task_view(task))
    else:
        say(line)


__all__ = ["cancel", "redrive"]
