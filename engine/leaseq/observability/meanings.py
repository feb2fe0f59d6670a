"""The meaning of each event, and the advice about it.

The texts are those of the table in docs/operations.md, from which `make generated` makes the file
`meanings.json`. They have backquotes around code.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import msgspec

# A process of another version may have recorded it.
UNKNOWN = "this version of leaseq does not know the event"


def meaning_of(name: str) -> str:
    """The meaning of an event."""
    return _meanings().get(name, UNKNOWN)


@cache
def _meanings() -> dict[str, str]:
    raw = (files("leaseq.observability") / "meanings.json").read_bytes()
    return msgspec.json.decode(raw, type=dict[str, str])


__all__ = ["UNKNOWN", "meaning_of"]
