"""The commands that list changes, and show, stop or resume those of many tasks."""

from __future__ import annotations

import click
from msgspec.structs import replace

from leaseq.cli import parameters
from leaseq.cli.actor import command_line
from leaseq.cli.commands.many import follow, show
from leaseq.cli.output import moment, print_json, print_table
from leaseq.cli.servers import reading, with_engine
from leaseq.ledger.bulk_operations import BulkRecord
from leaseq.ledger.operation_log import (
    ACTIONS,
    OperationFilter,
    OperationListing,
    OperationRecord,
)
from leaseq.operations.engine import Engine
from leaseq_api.views import operation_page

operation_id = click.argument("operation_id", type=parameters.to_task_id, metavar="ID")


@click.group(invoke_without_command=True)
@click.option("--action", type=click.Choice(ACTIONS), help="Only this kind of change.")
@click.option("--target", metavar="ID", help="Only changes of this task, queue, key or tenant.")
@click.option("--key", "key_id", metavar="ID", help="Only changes by the API key with this id.")
@click.option("--tenant", type=parameters.to_name, help="Only by actors bound to this tenant.")
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
    help="Continue after this operation: next_cursor of --json.",
)
@parameters.as_json
@click.pass_context
def operations(
    ctx: click.Context, /, *, limit: int, tenant: str | None, as_json: bool, **filters: str | None
) -> None:
    """List the changes made through the API and the command line, newest first.

    Submissions are not among them. OUTCOME unconfirmed: whether the change was made is not known.
    """
    if ctx.invoked_subcommand is not None:
        return
    wanted = OperationFilter(limit=limit, **filters)

    async def work(engine: Engine) -> OperationListing:
        """Page by page, each from a bounded number of rows, until there are enough or no more."""
        found: list[OperationRecord] = []
        left = wanted
        while True:
            page = await engine.list_operations(left, tenant=tenant)
            found += page.operations
            if page.cursor is None or len(found) >= limit:
                return OperationListing(found, page.cursor)
            left = replace(left, cursor=page.cursor, limit=limit - len(found))

    found = reading(work)
    if as_json:
        print_json(operation_page(found))
    elif found.operations:
        titles = ("began", "action", "target", "outcome", "actor", "key", "tenant")
        print_table(titles, [_row(operation) for operation in found.operations])


@operations.command("show")
@operation_id
@click.option("--watch", is_flag=True, help="Wait until it is done or stopped, and help with it.")
@parameters.as_json
def show_one(operation_id: str, watch: bool, as_json: bool) -> None:
    """Show operation ID, which is on many tasks, and its progress."""

    async def work(engine: Engine) -> BulkRecord:
        found = await engine.bulk.find(operation_id, tenant=None)
        return await follow(engine, operation_id) if watch else found

    show(with_engine(work) if watch else reading(work), as_json=as_json)


@operations.command()
@operation_id
@parameters.as_json
def stop(operation_id: str, as_json: bool) -> None:
    """Stop operation ID, which is on many tasks. It can be resumed."""

    async def work(engine: Engine) -> BulkRecord:
        return await engine.as_bulk_operator(command_line(None)).stop(operation_id)

    show(with_engine(work), as_json=as_json)


@operations.command()
@operation_id
@click.option("--watch", is_flag=True, help="Wait until it is done or stopped, and help with it.")
@parameters.as_json
def resume(operation_id: str, watch: bool, as_json: bool) -> None:
    """Let operation ID, which was stopped, go on in the API processes."""

    async def work(engine: Engine) -> BulkRecord:
        resumed = await engine.as_bulk_operator(command_line(None)).resume(operation_id)
        return await follow(engine, operation_id) if watch else resumed

    show(with_engine(work), as_json=as_json)


def _row(operation: OperationRecord) -> tuple[str, ...]:
    outcome = operation.outcome.value
    return (
        moment(operation.began_at),
        operation.action,
        operation.target,
        outcome if operation.code is None else f"{outcome}: {operation.code}",
        operation.actor,
        operation.key_id or "-",
        operation.tenant or "-",
    )


__all__ = ["operations"]
