"""The command that runs everything for a developer."""

from __future__ import annotations

import asyncio
import logging
import sys
from importlib.util import find_spec

import click

from leaseq.cli.commands.run import configure, require_extra
from leaseq.cli.dev.printer import Printer
from leaseq.cli.dev.process_group import ProcessGroup
from leaseq.cli.dev.watch import changes
from leaseq.cli.servers import checked_servers
from leaseq.observability.telemetry import subscribe


@click.command()
@click.argument("app", metavar="MODULE:APP")
@click.option(
    "--port", type=click.IntRange(1, 65_535), help="Port of the API (LEASEQ_API_PORT, 8000)."
)
@click.option(
    "--no-reload", is_flag=True, help="Do not restart the worker when a .py file changes."
)
def dev(app: str, port: int | None, no_reload: bool) -> None:
    """Run everything for MODULE:APP on this machine: servers, API, reaper and worker.

    The worker restarts when a .py file below the current directory changes. Ctrl-C stops everything
    in order; a second Ctrl-C shortens the wait.
    """
    require_extra("api", needs=("httptools", "litestar"))
    require_extra("reaper", needs=("apscheduler",))
    from leaseq_api.address import check_address  # an optional extra

    config = configure(api_port=port)
    check_address(config)
    printer = Printer(raw=config.log_format == "json")
    subscribe(printer.event, level=logging.getLevelNamesMapping()[config.log_level.upper()])
    reloads = not no_reload
    if reloads and find_spec("watchfiles") is None:
        printer.say(
            "watchfiles is not installed, so nothing is reloaded: pip install 'leaseq[reload]'",
            colour="yellow",
        )
        reloads = False
    with checked_servers(config) as ready:
        code = asyncio.run(
            ProcessGroup(ready, app, changes=changes if reloads else None, printer=printer).run()
        )
    sys.exit(code)


__all__ = ["dev"]
