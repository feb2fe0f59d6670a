"""Make the standard streams safe to write to.

Invariants: descriptors 0, 1 and 2 are open before any other. Otherwise a connection to a store
would get the number of a closed one, and output would be sent to that store. A character that the
encoding of a stream lacks is escaped and raises nothing. A reader that is gone, or a full disk, is
detected before the process ends.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TextIO

from leaseq.safe_text.printable import ascii_json, printable, printable_json

MODES = {"stdin": "r", "stdout": "w", "stderr": "w"}


def open_streams() -> None:
    """Open each closed standard stream on the null device, and allow every character. Call before
    anything else."""
    for number, (name, mode) in enumerate(MODES.items()):
        _open_descriptor(number)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 (for as long as the process)
        stream = getattr(sys, name)
        if mode == "w" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _open_descriptor(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        opened = os.open(os.devnull, os.O_RDWR)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
        os.set_inheritable(number, True)


def say(text: str = "", *, styled: bool = False) -> None:
    """Write one line of an answer. `styled`: the text has already gone through `printable`, and
    contains our own colours.

    Raises `OSError` if it cannot be written.
    """
    sys.stdout.write(f"{text if styled else printable(text)}\n")
    sys.stdout.flush()


def say_json(text: str) -> None:
    """Write a JSON value whose line ends stand between values. It is the same value in every
    encoding."""
    try:
        printable_json(text).encode(sys.stdout.encoding or "utf-8")
        shown = printable_json(text)
    except (LookupError, UnicodeEncodeError):
        shown = ascii_json(text)
    say(shown, styled=True)


def note(text: str) -> None:
    """Write one line that is not part of the answer to standard error. Never raises: there is no
    other place to report to."""
    note_as_it_is(f"leaseq: {printable(text)}")


def note_as_it_is(text: str) -> None:
    """Write lines to standard error that have already gone through `printable`. Never raises."""
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        silence(sys.stderr)


def silence(stream: TextIO) -> None:
    """Discard the buffer of a stream whose reader is gone or whose disk is full, because Python
    flushes it at the end."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


__all__ = ["note", "note_as_it_is", "open_streams", "say", "say_json", "silence"]
