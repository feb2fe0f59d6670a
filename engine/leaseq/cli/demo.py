"""The command that starts the demo of the repository.

It belongs to the repository (`examples/demo`), since it is code to read and to copy; the installed package does not carry it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import click

from leaseq.errors import ConfigInvalid

__all__ = ["demo"]


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def demo(arguments: tuple[str, ...]) -> None:
    """Watch 2,000 real tasks run, two workers be killed, and every promise be held against Postgres. Half a minute.

    The same as `make demo`; run it in a clone of the repository.
    """
    sys.path.insert(0, str(Path.cwd()))
    try:
        program = import_module("examples.demo.__main__").main
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("examples"):
            raise
        raise ConfigInvalid("there is no examples/demo here: run `leaseq demo` in a clone of the repository") from error
    program.main(args=list(arguments), prog_name="leaseq demo", standalone_mode=False)
