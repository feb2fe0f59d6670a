"""The state of a task that a person saw before acting on it.

A change that carries it takes effect only while the task is still in that state and at that
attempt. The statement of the change has the condition, so nothing happens between a look and the
change.
"""

from __future__ import annotations

import re

from msgspec import Struct

from leaseq.errors import ActionInvalid
from leaseq.model import State

PATTERN = f"^({'|'.join(State)})/(0|[1-9][0-9]{{0,8}})$"
_SEEN = re.compile(PATTERN)


class Seen(Struct, frozen=True):
    """A state and the number of the last attempt."""

    state: State
    attempt: int

    def __str__(self) -> str:
        return f"{self.state}/{self.attempt}"


def parse_seen(text: str) -> Seen:
    """Read `STATE/ATTEMPT`. Raises `ActionInvalid`."""
    found = _SEEN.fullmatch(text)
    if found is None:
        raise ActionInvalid(
            f"seen must be the state and the attempt of a task, as in FAILED/3, not {text[:60]!r}"
        )
    return Seen(State(found[1]), int(found[2]))


__all__ = ["PATTERN", "Seen", "parse_seen"]
