"""What do answers look like on a terminal, in a pipe, and to a script?

On a terminal with colours and to its width; in a pipe plain and as wide as need be, one row a line; with `--json` one JSON
value. Invariant: text that comes from payloads, handlers or Redis cannot steer the terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from leaseq.model import State

PIPE_WIDTH = 100_000

STYLES: dict[str, str] = {
    State.PENDING: "cyan",
    State.SCHEDULED: "blue",
    State.PROCESSING: "yellow",
    State.SUCCESS: "green",
    State.FAILED: "bold red",
    State.CANCELLED: "magenta",
    "ok": "green",
    "warning": "yellow",
    "fault": "bold red",
    "paused": "yellow",
}


def console() -> Console:
    """Where answers go. Made anew each time: the standard output of the moment counts."""
    terminal = sys.stdout.isatty()
    return Console(markup=False, highlight=False, emoji=False, soft_wrap=True, width=None if terminal else PIPE_WIDTH)


def print_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Rows under titles. A cell that is a state, or another word of `STYLES`, gets its colour."""
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for title in titles:
        made.add_column(title.upper(), overflow="fold", no_wrap=not sys.stdout.isatty())
    for row in rows:
        made.add_row(*(styled(cell) for cell in row))
    if sys.stdout.isatty():
        console().print(made)
    else:
        drawn = Console(file=sys.stdout, width=PIPE_WIDTH, color_system=None)
        with drawn.capture() as captured:
            drawn.print(made)
        click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def print_json(value: Any) -> None:
    """One JSON value, on several lines; bytes of JSON inside it must be `msgspec.Raw`."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def styled(text: str) -> Text:
    """Text that cannot steer the terminal, coloured if it is a word that has a colour."""
    return Text(printable(text), style=STYLES.get(text, ""))


def printable(text: str) -> str:
    """The same with every control character written out; line ends and tabs stay."""
    return "".join(char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode() for char in text)


def moment(when: datetime | None, *, fine: bool = False) -> str:
    """A time of the ledger in the time zone of this machine; `fine` to the millisecond."""
    if when is None:
        return "-"
    return when.astimezone().isoformat(sep=" ", timespec="milliseconds" if fine else "seconds")[: 23 if fine else 19]


__all__ = ["console", "moment", "print_json", "print_table", "printable", "styled"]
