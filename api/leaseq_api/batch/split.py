"""Find the items in the body of a batch, without parsing them.

Lines are found while they arrive. The elements of a JSON array are found when all of it is there.
Either takes linear time for any bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from leaseq_api.refused import Refused

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_SPACE = rb"[ \t\n\r]*+"
# A word: a number, true, false, null. Whether it is one is seen when it is parsed.
_WORD = rb'[^ \t\n\r,"\[\]{}]++'
# A value with brackets, to so many levels. A value that is deeper is searched level by level.
_LEVELS = 8
_NESTED = rb"(?!)"
for _ in range(_LEVELS):
    _NESTED = rb"[\[{](?:[^\"\[\]{}]++|" + _STRING + rb"|" + _NESTED + rb")*+[\]}]"

_BEGIN = re.compile(_SPACE + rb"\[" + _SPACE + rb"(\]" + _SPACE + rb")?")
_NEXT = _SPACE + rb"(?:(\])|,)" + _SPACE
_AFTER = re.compile(_NEXT)
_ELEMENT = re.compile(rb"(" + _NESTED + rb"|" + _STRING + rb"|" + _WORD + rb")" + _NEXT, re.DOTALL)
# Everything up to the next bracket that ends or begins a level, and that bracket.
_BRACKET = re.compile(
    rb'(?:[^"\[\]{}]++|' + _STRING + rb"|" + _NESTED + rb")*+([\[\]{}])", re.DOTALL
)
# An item has fewer (leaseq/codec.py). One with a few more fails alone.
MAX_DEPTH = 128
_OPENING = (b"[", b"{")


class Lines:
    """The lines of a body that arrives in pieces."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._begun = bytearray()
        self._too_long = False

    def feed(self, piece: bytes, *, last: bool) -> list[bytes | None]:
        """The lines that end in a piece; with `last`, the line without an end too. None: a line
        that is longer than the limit, of which nothing was kept."""
        first, *others = piece.split(b"\n")
        self._begin(first)
        lines: list[bytes | None] = []
        for line in others:
            lines.append(self._end())
            self._begin(line)
        if last:
            lines.append(self._end())
        return lines

    def _begin(self, part: bytes) -> None:
        if self._too_long or len(self._begun) + len(part) > self._max_bytes:
            self._too_long = True
            self._begun.clear()
        else:
            self._begun += part

    def _end(self) -> bytes | None:
        line = None if self._too_long else bytes(self._begun)
        self._begun.clear()
        self._too_long = False
        return line


def split_array(raw: bytes) -> Iterator[memoryview]:
    """The elements of a JSON array. Whether each of them is JSON is seen when it is parsed. Raises
    `Refused` where the array itself is not JSON."""
    begin = _BEGIN.match(raw)
    if begin is None:
        raise Refused(
            "submission_invalid",
            "the body of a batch is an array; lines have the Content-Type application/x-ndjson",
            pointer="",
        )
    view, count = memoryview(raw), 0
    at, ended = begin.end(), begin[1]
    while ended is None:
        found = _ELEMENT.match(raw, at)
        if found is not None:
            end = found.end(1)
        elif (end := _end_of_deep(raw, at)) and (found := _AFTER.match(raw, end)) is None:
            end = 0
        if found is None:
            raise Refused(
                "json_invalid", f"item {count} of the array is not valid JSON, or nested too deeply"
            )
        yield view[at:end]
        count += 1
        at, ended = found.end(), found[found.re.groups]
    if at != len(raw):
        raise Refused("json_invalid", "there is something behind the end of the array")


def _end_of_deep(raw: bytes, at: int) -> int:
    """The end of the value with many levels that begins here. 0: there is none, or it has more
    levels than any item."""
    if raw[at : at + 1] not in _OPENING:
        return 0
    depth = 0
    while depth <= MAX_DEPTH and (bracket := _BRACKET.match(raw, at)) is not None:
        depth += 1 if bracket[1] in _OPENING else -1
        at = bracket.end()
        if depth == 0:
            return at
    return 0


__all__ = ["Lines", "split_array"]
