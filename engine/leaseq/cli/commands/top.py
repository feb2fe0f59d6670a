"""The command that shows the cluster, again and again."""

from __future__ import annotations

import asyncio
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import click

from leaseq.cli import parameters
from leaseq.cli.output import STYLES, print_json, print_line, print_table, styled
from leaseq.cli.servers import reading
from leaseq.cli.streams import note
from leaseq.cli.top.look import Look, Wanted, look_at
from leaseq.cli.top.tables import TABS, head_of
from leaseq.operations.engine import Engine
from leaseq_api.failures.views import failure_view

# How often the screen looks, unless --interval says otherwise.
SCREEN_SECONDS = 1.0
INSTALL = "for a live screen install Textual: `pip install 'leaseq[top]'`"


@click.command()
@click.option("--queue", type=parameters.to_name, metavar="NAME", help="Only this queue.")
@click.option("--type", type=parameters.to_name, metavar="NAME", help="Only tasks of this type.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.2, max=3600),
    metavar="SECONDS",
    help="Time between two looks. A table is printed once without it.",
)
@click.option("--once", is_flag=True, help="Print one table.")
@click.option("--plain", is_flag=True, help="Print a table, also in a terminal.")
@parameters.as_json
def top(
    queue: str | None, interval: float | None, once: bool, plain: bool, as_json: bool, **given: Any
) -> None:
    """Show queues, running tasks, workers and failures as they are now.

    In a terminal a live screen (needs `leaseq[top]`); otherwise, and with --once, --plain or --json, a
    table. It asks the servers directly, so it works while the API is down. Exit code 4: Postgres
    cannot be reached at the start.
    """
    wanted = Wanted(queue=queue, type=given["type"])
    screen = not (once or plain or as_json) and is_terminal()
    if screen and find_spec("textual") is not None:
        run_screen = import_module("leaseq.cli.top.screen").run_screen
        reading(lambda engine: run_screen(engine, wanted, seconds=interval or SCREEN_SECONDS))
        return
    if screen:
        note(INSTALL)

    async def work(engine: Engine) -> None:
        while True:
            look = await look_at(engine, wanted)
            _print(look, wanted, as_json=as_json)
            if once or interval is None:
                return
            await asyncio.sleep(interval)

    reading(work)


def is_terminal() -> bool:
    """Whether a person can see a screen here, and press keys."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def _print(look: Look, wanted: Wanted, *, as_json: bool) -> None:
    if as_json:
        shown = ("overview", "statistics", "workers", "running")
        figures = {name: getattr(look, name) for name in shown}
        causes = [failure_view(each) for each in look.failures]
        print_json(figures | {"failures": causes, "dead_letters": look.letters})
        return
    for line in head_of(look):
        print_line(styled(line, STYLES["warning"] if line.startswith("!") else ""))
    for tab in TABS[:2]:
        print_line()
        print_table(tab.titles, [row.cells for row in tab.rows(look, None, wanted)])
    print_line()


__all__ = ["top"]
