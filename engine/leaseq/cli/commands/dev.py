"""The command that runs everything for a developer."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from importlib.util import find_spec
from pathlib import Path

import click

from leaseq.cli.commands.run import configure, require_extra
from leaseq.cli.dev.printer import Printer
from leaseq.cli.dev.process_group import ProcessGroup
from leaseq.cli.dev.watch import changes
from leaseq.cli.servers import checked_servers
from leaseq.config import Config
from leaseq.observability.telemetry import subscribe
from leaseq.operations.kill_tests.private_socket import remove_stale

# By the process, because several may run on the servers of one directory.
SOCKETS = "dev-*.sock"


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
        group = ProcessGroup(
            ready,
            app,
            changes=changes if reloads else None,
            printer=printer,
            kill_tests=_kill_tests(config),
        )
        code = asyncio.run(group.run())
    sys.exit(code)


def _kill_tests(config: Config) -> Path | None:
    """The socket for kill tests. None where they are not offered: on servers that are not ours alone,
    on an address that others reach, where several processes answer, and without /proc."""
    from leaseq_api.address import auth_of  # an optional extra

    embedded = config.postgres_url is None and config.redis_url is None
    ours = auth_of(config) == "open" and config.api_processes == 1
    if not (embedded and ours and Path("/proc/self/fd").is_dir()):
        return None
    remove_stale(config.data_dir / SOCKETS)
    return config.data_dir.absolute() / SOCKETS.replace("*", str(os.getpid()))


__all__ = ["dev"]
