"""Cancel or redrive many tasks: preview, confirm, work, follow.

The command works on the operation itself, with a lease like that of an API process, so it needs no
API. If it is killed, an API process goes on. Ctrl-C stops the operation.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click
import msgspec
from msgspec import Struct

from leaseq.cli import parameters
from leaseq.cli.actor import command_line
from leaseq.cli.exit_codes import INTERRUPTED
from leaseq.cli.output import moment, print_json, print_line, print_table
from leaseq.cli.servers import reading, with_engine
from leaseq.cli.signals import NUMBERS
from leaseq.cli.streams import note, say
from leaseq.codec import new_task_id
from leaseq.labels import MAX_ASKED
from leaseq.ledger.bulk_operations import (
    BulkAction,
    BulkFilter,
    BulkRecord,
    BulkRequest,
    BulkState,
    Preview,
)
from leaseq.loop import Pauses, Retries, pause, retry
from leaseq.operations.bulk.bulk_operations import (
    DEFAULT_RATE,
    LEAST_RATE,
    MOST_RATE,
    checked_filter,
)
from leaseq.operations.bulk.bulk_runner import TICK_SECONDS
from leaseq.operations.engine import Engine
from leaseq_api.bulk.schemas import bulk_view

Command = TypeVar("Command", bound=Callable[..., Any])
# From one line about the progress to the next, and how long an outage of Postgres may last.
TOLD_SECONDS = 5.0
PATIENCE_SECONDS = 60.0


class Many(Struct, frozen=True, kw_only=True):
    """The options of a command on many tasks."""

    rate: float = DEFAULT_RATE
    reason: str | None = None
    yes: bool = False
    as_json: bool = False


def options(command: Command) -> Command:
    """The options that a cancel and a redrive of many tasks share."""
    for option in (
        click.option("--yes", is_flag=True, help="Many tasks: do not ask for the number."),
        click.option("--reason", help="Many tasks: why, in one line."),
        click.option(
            "--rate",
            type=click.FloatRange(LEAST_RATE, MOST_RATE),
            default=DEFAULT_RATE,
            show_default=True,
            help="Many tasks: so many each second.",
        ),
        parameters.labels(
            most=MAX_ASKED, help="Tasks with this label; given more than once: with all of them."
        ),
        click.option("--type", type=parameters.to_name, metavar="NAME", help="Tasks of this type."),
        click.option(
            "--queue", type=parameters.to_name, metavar="NAME", help="Tasks of this queue."
        ),
        click.argument("task_id", type=parameters.to_task_id, metavar="[ID]", required=False),
    ):
        command = option(command)
    return command


def wanted_tasks(task_id: str | None, **fields: Any) -> BulkFilter | None:
    """The filter of the options. None: the task with this id alone."""
    given = {name: value for name, value in fields.items() if value}
    if task_id is not None and given:
        raise click.UsageError("an ID stands alone: name a task, or a queue, a type and so on")
    if task_id is None and not given:
        raise click.UsageError("name the ID of a task, or --queue, --type and so on")
    return None if task_id is not None else BulkFilter(**given)


def act_on_many(action: BulkAction, wanted: BulkFilter, many: Many, *, tenant: str) -> None:
    """Preview the tasks, ask for their number, and change them."""
    wanted = checked_filter(action, wanted)

    async def look(engine: Engine) -> Preview:
        return await engine.bulk.preview(action, wanted, tenant=tenant)

    found = reading(look)
    if found.count == 0 and found.exact:
        say(f"no task to {action}")
        return
    if not many.yes:
        _confirm(action, found)
    request = BulkRequest(
        operation_id=new_task_id(),
        action=action,
        filter=wanted,
        rate=many.rate,
        reason=many.reason,
        as_of=found.as_of,
    )

    async def work(engine: Engine) -> BulkRecord:
        operator = engine.as_bulk_operator(command_line(tenant))
        interrupted = asyncio.Event()
        for number in NUMBERS:
            asyncio.get_running_loop().add_signal_handler(number, interrupted.set)
        await operator.start(request, found)
        note(f"operation {request.operation_id} runs")
        record = await follow(engine, request.operation_id, stop=interrupted)
        if record.state is not BulkState.RUNNING:
            return record
        return await operator.stop(request.operation_id)

    record = with_engine(work)
    show(record, as_json=many.as_json)
    if record.state is not BulkState.DONE:
        sys.exit(INTERRUPTED)


def show(record: BulkRecord, *, as_json: bool) -> None:
    """The progress of an operation."""
    if as_json:
        print_json(bulk_view(record))
        return
    least = "" if record.total_exact else "at least "
    print_line(
        f"{record.operation_id} {record.action} {record.state.value}: {record.done} done, "
        f"{record.refused} refused, of {least}{record.total}"
    )
    for reason, count in sorted(msgspec.json.decode(record.refusals, type=dict[str, int]).items()):
        print_line(f"  refused, {reason}: {count}")


def _confirm(action: BulkAction, found: Preview) -> None:
    least = "" if found.exact else "at least "
    verb = "redriven" if action == "redrive" else "cancelled"
    say(
        f"{least}{found.count} tasks would be {verb}, from {moment(found.oldest_at)} to "
        f"{moment(found.newest_at)}; some of them:"
    )
    print_table(
        ("id", "state", "type", "queue"),
        [(each.task_id, each.state, each.type, each.queue) for each in found.samples],
    )
    given = click.prompt(f"type {found.count} to {action} them", err=True)
    if given.strip() != str(found.count):
        raise click.UsageError(f"{given!r} is not {found.count}: nothing was changed")


async def follow(
    engine: Engine, operation_id: str, *, stop: asyncio.Event | None = None
) -> BulkRecord:
    """Work on an operation, unless another process has it, until it does not run any more, or until
    `stop` is set."""
    stop = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    told_at = loop.time()
    while True:
        patience = Retries(Pauses(0.5), seconds=PATIENCE_SECONDS)
        await retry(lambda: engine.bulk_runner.advance(operation_id), patience)
        patience = Retries(Pauses(0.5), seconds=PATIENCE_SECONDS)
        record = await retry(lambda: engine.bulk.find(operation_id, tenant=None), patience)
        if record.state is not BulkState.RUNNING or stop.is_set():
            return record
        if loop.time() - told_at >= TOLD_SECONDS:
            told_at = loop.time()
            note(f"{record.done} done, {record.refused} refused, of {record.total}")
        await pause(TICK_SECONDS, stop=stop)


__all__ = ["Many", "act_on_many", "follow", "options", "show", "wanted_tasks"]
