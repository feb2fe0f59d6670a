"""The command that migrates the schema and grants rights to the roles."""

from __future__ import annotations

import asyncio

import click

from leaseq.cli.servers import held_servers
from leaseq.cli.streams import say
from leaseq.config import Config
from leaseq.ledger.roles import HANDLER, OWNER, SERVICE, RoleNames, grant, prepare_embedded
from leaseq.ledger.schema import LATEST
from leaseq.ledger.schema import migrate as apply


@click.command()
@click.option(
    "--grants", is_flag=True, help="Then create missing roles, and grant each role its rights."
)
@click.option(
    "--owner",
    metavar="ROLE",
    help=f"Role that owns the schema (default: the current owner; {OWNER} instead of a superuser).",
)
@click.option(
    "--service",
    "services",
    metavar="ROLE",
    multiple=True,
    help=f"Role of API, worker and reaper; may be repeated (default: {SERVICE}).",
)
@click.option(
    "--handler",
    metavar="ROLE",
    help=f"Role of the connections that handlers use (default: {HANDLER}).",
)
def migrate(
    grants: bool, owner: str | None, services: tuple[str, ...], handler: str | None
) -> None:
    """Migrate the schema in Postgres to this version of leaseq.

    Safe to run at any time, concurrently, and to interrupt: each step is one transaction.
    LEASEQ_POSTGRES_URL must name the owner of the schema here. Repeat --grants after each
    migration.
    """
    if not grants and (owner or services or handler):
        raise click.UsageError(
            "--owner, --service and --handler name the roles for --grants: add --grants"
        )
    names = RoleNames(owner=owner, services=services or (SERVICE,), handler=handler or HANDLER)
    config = Config.from_env()
    with held_servers(config) as ready:
        url = ready.postgres_url or ""
        applied = asyncio.run(apply(url, waiting=say))
        made = asyncio.run(grant(url, names)) if grants else []
        if config.postgres_url is None:
            asyncio.run(prepare_embedded(ready))
    for name in applied:
        say(f"applied {name}")
    say(f"the schema is at version {LATEST}" + ("" if applied else "; nothing to do"))
    for line in made:
        say(line)
    if made:
        say("a new role has no password yet: alter role ... password '...'")
    if grants:
        say(
            f"rights are granted: {', '.join(names.services)} for the services, {names.handler} for handlers"
        )


__all__ = ["migrate"]
