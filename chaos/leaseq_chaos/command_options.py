"""Options and exit codes that the commands of `leaseq-chaos` share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from leaseq_chaos.verdict import Verdict

__all__ = ["DIRECTORY", "EXITS", "lanes", "out"]

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

EXITS = {Verdict.VALID: 0, Verdict.INVALID: 1, Verdict.UNKNOWN: 3}
DIRECTORY = click.Path(path_type=Path, file_okay=False)


def lanes(what: str) -> Decorator:
    """`--lanes`: the number of clusters that run at the same time, described as `what`."""
    return click.option(
        "--lanes", type=click.IntRange(1, 16), default=2, show_default=True, help=what
    )


def out(directory: str) -> Decorator:
    """`--out`: the directory of the evidence."""
    return click.option(
        "--out",
        type=DIRECTORY,
        default=Path(directory),
        show_default=True,
        help="Where the evidence goes.",
    )
