"""How does the schema get to the version of this code?"""

from __future__ import annotations

import asyncio

import click

from leaseq.cli.serving import held_servers
from leaseq.config import Config
from leaseq.ledger.schema import LATEST
from leaseq.ledger.schema import migrate as apply


@click.command()
def migrate() -> None:
    """Bring the schema in Postgres up to this version of leaseq.

    Safe at any time, by any number at once, and to interrupt: each step is one transaction.
    """
    with held_servers(Config.from_env()) as config:
        applied = asyncio.run(apply(config.postgres_url or ""))
    for name in applied:
        click.echo(f"applied {name}")
    click.echo(f"the schema is at version {LATEST}" + ("" if applied else "; nothing to do"))


__all__ = ["migrate"]
