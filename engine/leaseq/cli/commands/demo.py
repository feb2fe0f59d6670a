"""The command that runs the demo of the repository.

The demo belongs to the repository (`examples/demo`), as code to read and copy. The installed
package does not contain it.
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
    """Run 2,000 real tasks, kill two workers, and check every guarantee against Postgres. Takes
    half a minute.

    The same as `make demo`. Run it in a clone of the repository.
    """
    sys.path.insert(0, str(Path.cwd()))
    try:
        program = import_module("examples.demo.__main__").main
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("examples"):
            raise
        raise ConfigInvalid(
            "there is no directory examples/demo here: run `leaseq demo` in a clone of the repository"
        ) from error
    program.main(args=list(arguments), prog_name="leaseq demo", standalone_mode=False)
