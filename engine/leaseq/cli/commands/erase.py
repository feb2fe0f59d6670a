"""The command that erases what tasks hold of persons, and keeps that they existed."""

from __future__ import annotations

import sys

import click

from leaseq.cli import parameters
from leaseq.cli.actor import command_line
from leaseq.cli.exit_codes import OK, failure
from leaseq.cli.output import print_json
from leaseq.cli.servers import with_engine
from leaseq.cli.streams import note, say
from leaseq.errors import TaskConflict, TaskNotFound
from leaseq.model import Task
from leaseq.operations.engine import Engine
from leaseq_api.views import task_view

Outcome = Task | TaskConflict | TaskNotFound


@click.command()
@click.argument("task_ids", type=parameters.to_task_id, metavar="ID...", nargs=-1, required=True)
@parameters.tenant
@parameters.as_json
def erase(task_ids: tuple[str, ...], tenant: str, as_json: bool) -> None:
    """Remove payload, result, error, progress and attempts of tasks that have ended.

    The tasks stay until they are pruned, and show when they were erased. Their idempotency keys go
    on standing for them. A task that is refused does not stop the others; the exit code is that of
    the first one.
    """

    async def work(engine: Engine) -> list[Outcome]:
        client, operator = engine.for_tenant(tenant), engine.as_operator(command_line(tenant))
        outcomes: list[Outcome] = []
        for task_id in dict.fromkeys(task_ids):
            try:
                await operator.erase(task_id)
                outcomes.append(await client.find(task_id))
            except (TaskConflict, TaskNotFound) as error:
                outcomes.append(error)
        return outcomes

    outcomes = with_engine(work)
    refused = [outcome for outcome in outcomes if not isinstance(outcome, Task)]
    for outcome in outcomes:
        if not isinstance(outcome, Task):
            note(failure(outcome)[0])
        elif as_json:
            print_json(task_view(outcome))
        else:
            say(f"{outcome.task_id} is {outcome.state} and erased")
    sys.exit(failure(refused[0])[1] if refused else OK)


__all__ = ["erase"]
