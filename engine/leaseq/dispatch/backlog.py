"""Which part of a lane waits in the ledger, because the lane is full?

Ids are UUIDv7, so their order is that of submission, and that part is known by where it begins: the cursor. Of the lane's
PENDING tasks those from the cursor on wait in the ledger, and a push of one of them is refused. `until`, if there is one, ends
the stretch that somebody is bringing in just now: a push of what lies before it is taken, so that a task which is committed while
the stretch is being read is not missed. All this is one field of one hash, and changes in a compare-and-set; the token tells
one announcement of a stretch from another that was made after it was withdrawn.

Whatever else is found there (values in Redis are hostile) is read as a backlog that begins at the beginning: more than is needed
will be looked at, and nothing is missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from secrets import token_hex

from msgspec import Struct

from leaseq.codec import FIRST_ID, is_task_id, made_at
from leaseq.model import Lane

# The suspect lane has no window: it holds little, and a worker of its own waits for it.
WINDOWED = frozenset({Lane.HIGH, Lane.NORMAL, Lane.LOW})
FIELDS = {lane.value: lane for lane in Lane if lane in WINDOWED}


class Backlog(Struct, frozen=True):
    """Where the backlog of a lane begins. `text` is the value as it stands in Redis, for comparing."""

    text: bytes
    cursor: str
    until: str | None = None
    token: str = ""

    @classmethod
    def of(cls, cursor: str, until: str | None = None, token: str = "") -> Backlog:
        """One to be written."""
        return cls((f"{cursor} {until} {token}" if until else cursor).encode(), cursor, until, token)

    @classmethod
    def read(cls, text: bytes) -> Backlog:
        """One that was found."""
        match text.decode("ascii", "replace").split(" "):
            case [cursor] if is_task_id(cursor):
                return cls(text, cursor)
            case [cursor, until, token] if is_task_id(cursor) and is_task_id(until):
                return cls(text, cursor, until, token)
            case _:
                return cls(text, FIRST_ID)

    def announce(self, until: str) -> Backlog:
        """The same, with a stretch that is being brought in."""
        return Backlog.of(self.cursor, until, token_hex(4))

    def later(self, cursor: str) -> Backlog:
        """The same, within the same stretch, further on."""
        return Backlog.of(cursor, self.until, self.token)

    @property
    def since(self) -> datetime:
        """When the first task of the backlog was submitted, by the clock of whoever took it."""
        return made_at(self.cursor)


def read_backlogs(values: Sequence[bytes | None]) -> dict[Lane, Backlog]:
    """The lanes of a queue that have a backlog, from their values in the order of FIELDS."""
    return {lane: Backlog.read(text) for lane, text in zip(FIELDS.values(), values, strict=True) if text is not None}


__all__ = ["FIELDS", "WINDOWED", "Backlog", "read_backlogs"]
