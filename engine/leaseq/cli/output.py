"""Write answers for a terminal, a pipe, or a script.

A terminal gets colours. A pipe gets the same text: one row a line, as wide as necessary, because a
folded id cannot be copied. With `--json` an answer is one JSON value. Invariant: text from
payloads, handlers, Redis or Postgres goes through `printable`, so it can neither control the
terminal nor forge a line.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from leaseq.cli.streams import say, say_json
from leaseq.model import State
from leaseq.safe_text.printable import printable, printable_lines

WIDTH = 100_000

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


def print_line(*parts: str | Text) -> None:
    """Parts with a blank between them. A part is arbitrary text, or comes from `styled`."""
    made = Text(" ").join(part if isinstance(part, Text) else styled(part) for part in parts)
    say(_draw(made), styled=True)


def print_block(text: str) -> None:
    """The lines of a text, indented, so that none looks like a line of the answer."""
    for line in printable_lines(text.rstrip("\n")):
        say(f"  {line}", styled=True)


def print_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Rows under titles. A cell that is a state, or another word of `STYLES`, gets its colour."""
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for title in titles:
        made.add_column(title.upper(), no_wrap=True, overflow="ignore")
    for row in rows:
        made.add_row(*(styled(cell, STYLES.get(cell, "")) for cell in row))
    for line in _draw(made).split("\n"):
        say(line.rstrip(), styled=True)


def print_json(value: Any) -> None:
    """One JSON value on several lines. JSON bytes inside it must be `msgspec.Raw`."""
    say_json(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_raw_json(raw: bytes) -> None:
    """A JSON value of a client or a handler, in one line."""
    say_json(one_line(raw))


def one_line(raw: bytes) -> str:
    """A JSON text without line ends and blanks between values."""
    return msgspec.json.format(raw, indent=-1).decode()


def styled(text: str, style: str = "") -> Text:
    """Arbitrary text, in a style."""
    return Text(printable(text), style=style)


def moment(when: datetime | None, *, fine: bool = False) -> str:
    """A time of the ledger in the time zone of this machine; `fine`: to the millisecond."""
    if when is None:
        return "-"
    return when.astimezone().isoformat(sep=" ", timespec="milliseconds" if fine else "seconds")[
        : 23 if fine else 19
    ]


def _draw(made: Text | Table) -> str:
    """The text for standard output, with colours if it is a terminal. Rendered to a string, because
    Rich does not report a failed write."""
    console = Console(
        file=sys.stdout,
        markup=False,
        highlight=False,
        emoji=False,
        width=WIDTH,
        soft_wrap=True,
        force_jupyter=False,
    )
    with console.capture() as captured:
        console.print(made)
    return captured.get().rstrip("\n")


__all__ = [
    "STYLES",
    "moment",
    "one_line",
    "print_block",
    "print_json",
    "print_line",
    "print_raw_json",
    "print_table",
    "styled",
]
