"""Payloads, results and tracebacks, as the pages write them.

A value is shown up to SHOWN_BYTES, and the rest is a download. JSON is indented and otherwise as it
was written: a big integer keeps its digits. Nothing here is markup, so a template escapes it.
"""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from leaseq.operations.why.wording import fields_of
from leaseq.safe_text.printable import printable, printable_json

SHOWN_BYTES = 16_384
# Longer tracebacks are compared in part.
MOST_LINES = 2000
_FRAME = re.compile(r'^\s*File "(?P<file>[^"]*)", line \d+')
_LINE_NUMBER = re.compile(r"\bline \d+")
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{4,}")
_LIBRARY = re.compile(r"site-packages|dist-packages|/lib/python3|<frozen|/leaseq/worker/")


class Shown(Struct, frozen=True):
    """A value on a page. `size`: its bytes; `cut`: only its beginning is shown."""

    text: str
    size: int
    cut: bool


def shown(raw: bytes | None) -> Shown | None:
    """A JSON value, indented. None: there is none."""
    if raw is None:
        return None
    text = raw.decode("utf-8", "replace")
    if len(raw) <= SHOWN_BYTES:
        with contextlib.suppress(msgspec.DecodeError):
            text = msgspec.json.format(text, indent=2)
    cut = len(text) > SHOWN_BYTES
    return Shown(printable_json(text[:SHOWN_BYTES]), len(raw), cut)


class ShownError(Struct, frozen=True):
    """An error with its traceback: the frames of the application, and all of it."""

    line: str
    frames: list[str]
    traceback: str


def shown_error(error: bytes | None) -> ShownError | None:
    """The error of an attempt. None: it has none, or it may not be shown."""
    fields = fields_of(error)
    if not fields:
        return None
    traceback = str(fields.get("traceback") or "")[:SHOWN_BYTES]
    lines = [printable(line) for line in traceback.split("\n")]
    message = ": ".join(str(fields[name]) for name in ("type", "message") if fields.get(name))
    return ShownError(
        printable(" ".join((message or str(fields.get("code", ""))).split()))[:500],
        application_frames(lines),
        "\n".join(lines).strip("\n"),
    )


def application_frames(lines: Sequence[str]) -> list[str]:
    """The lines of a traceback that are of the application: frames with their source line."""
    kept: list[str] = []
    own = False
    for line in lines:
        frame = _FRAME.match(line)
        if frame is not None:
            own = not _LIBRARY.search(frame["file"])
        elif not line.startswith(" "):
            own = False
        if own:
            kept.append(line)
    return kept


class Difference(Struct, frozen=True):
    """One line of two compared texts: in both (" "), only in the first ("-") or second ("+")."""

    sign: str
    text: str


def compared(first: str, second: str) -> list[Difference]:
    """The lines of two tracebacks, compared without line numbers and addresses. Empty: they do not
    differ."""
    one, other = _normal(first), _normal(second)
    if one == other:
        return []
    return [
        Difference(line[0], line[2:])
        for line in difflib.ndiff(one, other)
        if not line.startswith("?")
    ]


def _normal(traceback: str) -> list[str]:
    lines = traceback.split("\n")[:MOST_LINES]
    return [_ADDRESS.sub("0x…", _LINE_NUMBER.sub("line …", line)) for line in lines]


__all__ = [
    "Difference",
    "Shown",
    "ShownError",
    "application_frames",
    "compared",
    "shown",
    "shown_error",
]
