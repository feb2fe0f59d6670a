"""Refuse payloads whose values collide in a hash table.

The hash of an int, a Decimal or a UUID is the number modulo a known prime. A megabyte of multiples
of that prime keeps a set busy for a minute, because each value is compared with all values before
it. Strings, bytes, dates and floats do not have this weakness. If a handler takes a set of such
numbers, or a dict with such keys, a payload with many values of one hash is refused before it is
decoded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

# This many values with one hash take a few milliseconds.
MOST_ALIKE = 500
COLLIDES = "the payload holds many values with the same hash"

Decode = Callable[[bytes], Any]
Readers = tuple[type[UUID], type[Decimal]] | tuple[type[Decimal], type[UUID]]

_STRONG = {
    "str",
    "bytes",
    "bool",
    "null",
    "float",
    "enum",
    "flag",
    "int_flag",
    "literal",
    "date",
    "time",
    "datetime",
}


def may_collide(shape: bytes) -> bool:
    """Whether a shape has a set or a dict whose values an attacker can give the same hash."""
    waiting, weak = [msgspec.json.decode(shape)], False
    while waiting and not weak:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += part
        elif isinstance(part, dict):
            waiting += part.values()
            member = {"set": "of", "frozenset": "of", "dict": "keys"}.get(str(part.get("kind")))
            weak = member is not None and _kind(part[member]) not in _STRONG
    return weak


def _kind(node: Any) -> str:
    return str(node["kind"]) if isinstance(node, dict) else ""


def guarded(shape: bytes, decode: Decode) -> Decode:
    """A decoder for a shape that raises `msgspec.ValidationError` for a payload whose values
    collide."""
    if not may_collide(shape):
        return decode

    def checked(payload: bytes) -> Any:
        if collides(payload):
            raise msgspec.ValidationError(COLLIDES)
        return decode(payload)

    return checked


def collides(payload: bytes) -> bool:
    """Whether an array or the keys of an object hold more than `MOST_ALIKE` different values of one
    hash."""
    if len(payload) < 2 * MOST_ALIKE:
        return False
    waiting = [msgspec.json.decode(payload)]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
        if (
            isinstance(part, dict | list)
            and len(part) > MOST_ALIKE
            and _most_alike(part) > MOST_ALIKE
        ):
            return True
    return False


def _most_alike(values: Collection[Any]) -> int:
    # A text of 32 digits can be either.
    return max(_alike(values, readers) for readers in ((UUID, Decimal), (Decimal, UUID)))


def _alike(values: Collection[Any], readers: Readers) -> int:
    hashes = [(_hash(value, readers), value) for value in values]
    ((most, count),) = Counter(found for found, _ in hashes).most_common(1)
    return (
        count
        if count <= MOST_ALIKE
        else len({msgspec.json.encode(value) for found, value in hashes if found == most})
    )


def _hash(value: Any, readers: Readers) -> int:
    """The hash of the value that a decoder makes of a JSON value. A text may become a number, a
    Decimal or a UUID."""
    if isinstance(value, list):
        return hash(tuple(_hash(part, readers) for part in value))
    if isinstance(value, dict):
        return hash(tuple(_hash(part, readers) for part in value.values()))
    if isinstance(value, str):
        for read in readers:
            try:
                return hash(read(value))
            except (ValueError, ArithmeticError, TypeError):  # a signalling NaN is not hashable
                continue
    return hash(value)


__all__ = ["COLLIDES", "collides", "guarded", "may_collide"]
