"""The commands that list tenants and create one."""

from __future__ import annotations

import click

from leaseq.cli import parameters
from leaseq.cli.actor import command_line
from leaseq.cli.output import moment, print_json, print_table
from leaseq.cli.servers import reading, with_engine
from leaseq.cli.streams import say


@click.group(invoke_without_command=True)
@parameters.as_json
@click.pass_context
def tenants(ctx: click.Context, as_json: bool) -> None:
    """List the tenants that API keys may be bound to."""
    if ctx.invoked_subcommand is not None:
        return
    found = reading(lambda engine: engine.access.list_tenants())
    if as_json:
        print_json(found)
    else:
        print_table(("tenant", "since"), [(each.name, moment(each.created_at)) for each in found])


@tenants.command()
@click.argument("name", metavar="NAME")
def create(name: str) -> None:
    """Make tenant NAME known."""
    created = with_engine(lambda engine: engine.as_operator(command_line(None)).create_tenant(name))
    say(f"tenant {name} is {'created' if created else 'known already'}")


__all__ = ["tenants"]
