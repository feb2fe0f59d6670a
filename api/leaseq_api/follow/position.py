"""The id of an event: how much a client knows of its task.

It is made from the row of the task alone. So a client that comes back with `Last-Event-ID`, to any
process and after any time, gets the changes since then, and nothing twice. An id that this
service did not make stands for the beginning: it repeats events and loses none.
"""

from __future__ import annotations

import re
from hashlib import blake2b

from msgspec import Struct

from leaseq.ledger.followed import FollowedTask
from leaseq.operations.follow import last_ended

_ID = re.compile(r"([0-9]{1,9})-([0-9a-f]{16}|0)-([0-9a-f]{16}|0)")
_HORIZON = re.compile(r"[1-9][0-9]{0,17}")
NOTHING = "0"


class Position(Struct, frozen=True):
    """The number of the last attempt whose end was sent, and digests of the last state and of the
    last progress."""

    ends: int = 0
    state: str = NOTHING
    progress: str = NOTHING

    def __str__(self) -> str:
        return f"{self.ends}-{self.state}-{self.progress}"


def parse_position(text: str | None) -> Position:
    """The position of a `Last-Event-ID`."""
    found = _ID.fullmatch(text or "")
    return Position(int(found[1]), found[2], found[3]) if found else Position()


def parse_horizon(text: str) -> str | None:
    """The position in the stream of all tasks. None: the client begins now."""
    return text if _HORIZON.fullmatch(text) else None


def position_of(task: FollowedTask) -> Position:
    """The position of a client that knows everything about this version of a task."""
    times = (task.run_at, task.started_at, task.finished_at, task.cancel_requested_at)
    state = "|".join([task.state, str(task.attempt), *(t.isoformat() if t else "" for t in times)])
    progress = NOTHING
    if task.progress is not None:
        progress = _digest(b"%d|%b" % (task.attempt, task.progress))
    return Position(last_ended(task), _digest(state.encode()), progress)


def _digest(content: bytes) -> str:
    return blake2b(content, digest_size=8).hexdigest()


__all__ = ["NOTHING", "Position", "parse_horizon", "parse_position", "position_of"]
