"""The command that lists tasks."""

from __future__ import annotations

import click
from msgspec.structs import replace

from leaseq.cli import parameters
from leaseq.cli.output import moment, print_json, print_table
from leaseq.cli.stores import reading
from leaseq.cli.story import why
from leaseq.ledger.ledger import Listing, TaskFilter
from leaseq.model import State, TaskSummary
from leaseq.operations.engine import Engine
from leaseq_api.views import task_page

ERROR_WIDTH = 60


@click.command("list")
@click.option(
    "--state",
    type=click.Choice([state.value for state in State], case_sensitive=False),
    metavar="STATE",
    help=f"Only tasks in this state: {', '.join(State)}.",
)
@click.option("--queue", type=parameters.to_name, metavar="NAME", help="Only tasks of this queue.")
@click.option("--type", type=parameters.to_name, metavar="NAME", help="Only tasks of this type.")
@click.option("--key", "idempotency_key", help="Only the task with this idempotency key.")
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=20,
    show_default=True,
    help="Maximum number of rows.",
)
@click.option(
    "--cursor",
    type=parameters.to_task_id,
    metavar="ID",
    help="Continue after this task: next_cursor of --json.",
)
@parameters.tenant
@parameters.as_json
def list_tasks(*, limit: int, tenant: str, as_json: bool, **filters: str | None) -> None:
    """List tasks, newest first."""
    state = filters.pop("state")
    wanted = TaskFilter(state=State(state) if state else None, limit=limit, **filters)

    async def work(engine: Engine) -> Listing:
        """Page by page, each from a bounded number of tasks, until there are enough or no more."""
        found: list[TaskSummary] = []
        left = wanted
        while True:
            listing = await engine.for_tenant(tenant).list_tasks(left)
            found += listing.tasks
            if listing.cursor is None or len(found) >= limit:
                return Listing(found, listing.cursor)
            left = replace(left, cursor=listing.cursor, limit=limit - len(found))

    found = reading(work)
    if as_json:
        print_json(task_page(found))
    elif found.tasks:
        titles = ("id", "state", "type", "queue", "attempt", "submitted", "ended", "error")
        print_table(titles, [_row(task) for task in found.tasks])


def _row(task: TaskSummary) -> tuple[str, ...]:
    error = why(task.error)
    return (
        task.task_id,
        task.state,
        task.type,
        task.queue,
        str(task.attempt),
        moment(task.created_at),
        moment(task.finished_at),
        error if len(error) <= ERROR_WIDTH else error[: ERROR_WIDTH - 3] + "...",
    )


__all__ = ["list_tasks"]
