"""The commands that list tasks, cancel one, or run one again."""

from __future__ import annotations

from typing import Any

import click
from msgspec import UNSET
from msgspec.structs import replace

from leaseq.cli import parameters
from leaseq.cli.actor import command_line
from leaseq.cli.commands import many
from leaseq.cli.commands.many import Many, act_on_many
from leaseq.cli.output import moment, print_json, print_table
from leaseq.cli.servers import reading, with_engine
from leaseq.cli.streams import say
from leaseq.labels import MAX_ASKED
from leaseq.ledger.bulk_operations import BulkFilter
from leaseq.ledger.task_lists import Listing, TaskFilter
from leaseq.model import State, Task, TaskSummary
from leaseq.operations.engine import Engine
from leaseq.operations.seen import Seen
from leaseq.operations.why.wording import error_line
from leaseq_api.views import task_page, task_view, waiting_for

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
@parameters.labels(
    most=MAX_ASKED, help="Only tasks with this label; given more than once: with all of them."
)
@click.option(
    "--error",
    type=parameters.to_fingerprint,
    metavar="FINGERPRINT",
    help="Only FAILED tasks with this failure.",
)
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
def list_tasks(*, limit: int, tenant: str, as_json: bool, **filters: Any) -> None:
    """List tasks, newest first."""
    state = filters.pop("state")
    if filters["error"] is not None and filters["idempotency_key"] is not None:
        raise click.UsageError("--error and --key do not go together")
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


def line_of(task: TaskSummary) -> str:
    """The line in which a task waits for a permit. Empty: it waits in none."""
    waits = waiting_for(task)
    if waits is None or waits.time is not UNSET:
        return ""
    if waits.queue is not UNSET:
        return f"waits for its turn in the fair queue {waits.queue}"
    return f"waits for limit {waits.limit}" + (f", key {waits.key}" if waits.key else "")


def _row(task: TaskSummary) -> tuple[str, ...]:
    error = line_of(task) or error_line(task.error)
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


@click.command()
@many.options
@click.option("--running", is_flag=True, help="Many tasks: also those that run.")
@parameters.tenant
@parameters.seen
@parameters.as_json
def cancel(
    task_id: str | None, tenant: str, seen: Seen | None, as_json: bool, **given: Any
) -> None:
    """Cancel task ID, or the tasks of a queue, a type or a label that wait.

    A waiting task ends immediately; for a running task, its worker is asked to stop it. Many tasks
    are previewed first.
    """
    wanted = _wanted(task_id, seen, given, "running")
    if task_id is None or wanted is not None:
        act_on_many("cancel", wanted or BulkFilter(), Many(**given, as_json=as_json), tenant=tenant)
        return

    async def work(engine: Engine) -> tuple[State, Task | None]:
        state = await engine.as_operator(command_line(tenant)).cancel(task_id, seen=seen)
        return state, await engine.for_tenant(tenant).find(task_id) if as_json else None

    state, task = with_engine(work)
    if task is not None:
        print_json(task_view(task))
        return
    running = state is State.PROCESSING
    say(f"{task_id} {'is running; its worker was asked to stop it' if running else f'is {state}'}")


@click.command()
@many.options
@click.option("--error", metavar="FINGERPRINT", help="Tasks with this failure.")
@parameters.tenant
@parameters.seen
@parameters.as_json
def redrive(
    task_id: str | None, tenant: str, seen: Seen | None, as_json: bool, **given: Any
) -> None:
    """Retry task ID, which is FAILED or CANCELLED, or the FAILED tasks of a queue, a type, a
    label or an error.

    Each begins again with its first attempt. Many tasks are previewed first.
    """
    wanted = _wanted(task_id, seen, given, "error")
    if task_id is None or wanted is not None:
        act_on_many(
            "redrive", wanted or BulkFilter(), Many(**given, as_json=as_json), tenant=tenant
        )
        return

    async def work(engine: Engine) -> Task:
        return await engine.as_operator(command_line(tenant)).redrive(task_id, seen=seen)

    task = with_engine(work)
    if as_json:
        print_json(task_view(task))
    else:
        say(f"{task_id} is {task.state} in queue {task.queue}")


def _wanted(
    task_id: str | None, seen: Seen | None, given: dict[str, Any], own: str
) -> BulkFilter | None:
    """Take the filter out of the options of a command. None: it names one task."""
    fields = {name: given.pop(name) for name in ("queue", "type", "labels", own)}
    if seen is not None and task_id is None:
        raise click.UsageError("--seen is for one task: name its ID")
    return many.wanted_tasks(task_id, **fields)


@click.command("free-key")
@parameters.task_id
@parameters.tenant
@parameters.as_json
def free_key(task_id: str, tenant: str, as_json: bool) -> None:
    """Free the idempotency key of task ID, which is FAILED or CANCELLED.

    The next submission with the key makes another task. Task ID does not run again.
    """

    async def work(engine: Engine) -> Task:
        await engine.as_operator(command_line(tenant)).free_key(task_id)
        return await engine.for_tenant(tenant).find(task_id)

    task = with_engine(work)
    if as_json:
        print_json(task_view(task))
    else:
        say(f"the idempotency key {task.idempotency_key} of {task_id} is free")


__all__ = ["cancel", "free_key", "line_of", "list_tasks", "redrive"]
