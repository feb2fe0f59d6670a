"""The part of a full lane that waits in the ledger.

Ids are UUIDv7 and therefore ordered by submission, so one id marks where that part begins: the
cursor. The lane's PENDING tasks from the cursor on wait in the ledger, and a push of one of them is
refused. `until`, if present, ends the range that a reaper is reading at the moment: a push of an
id before it is accepted, so that a task which is committed during that read is not missed. All of
this is one field of one hash, and changes by compare-and-set. The token distinguishes an
announcement of a range from a later one that was made after the first was withdrawn.

Any other value (values in Redis are hostile) is read as a backlog that begins at the first id: more
tasks than necessary are examined, and none is missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from secrets import token_hex

from msgspec import Struct

from leaseq.codec import FIRST_ID, is_task_id, made_at
from leaseq.model import Lane

# The suspect lane has no window: it holds few tasks, and a separate worker serves it.
WINDOWED = frozenset({Lane.HIGH, Lane.NORMAL, Lane.LOW})
FIELDS = {lane.value: lane for lane in Lane if lane in WINDOWED}


class Backlog(Struct, frozen=True):
    """Where the backlog of a lane begins. `text` is the value in Redis, for comparison."""

    text: bytes
    cursor: str
    until: str | None = None
    token: str = ""

    @classmethod
    def of(cls, cursor: str, until: str | None = None, token: str = "") -> Backlog:
        """A backlog to be written."""
        return cls(
            (f"{cursor} {until} {token}" if until else cursor).encode(), cursor, until, token
        )

    @classmethod
    def read(cls, text: bytes) -> Backlog:
        """A backlog from a value that was read."""
        match text.decode("ascii", "replace").split(" "):
            case [cursor] if is_task_id(cursor):
                return cls(text, cursor)
            case [cursor, until, token] if is_task_id(cursor) and is_task_id(until):
                return cls(text, cursor, until, token)
            case _:
                return cls(text, FIRST_ID)

    def announce(self, until: str) -> Backlog:
        """The same backlog, with a range that is about to be brought in."""
        return Backlog.of(self.cursor, until, token_hex(4))

    def later(self, cursor: str) -> Backlog:
        """The same backlog within the same range, further on."""
        return Backlog.of(cursor, self.until, self.token)

    def covers(self, task_id: str) -> bool:
        """Whether this PENDING task of the lane waits in the ledger. No delivery of it is missing
        then."""
        return task_id >= self.cursor

    @property
    def since(self) -> datetime:
        """When the first task of the backlog was submitted, by the clock of its submitter."""
        return made_at(self.cursor)


def read_backlogs(values: Sequence[bytes | None]) -> dict[Lane, Backlog]:
    """The lanes of a queue that have a backlog, from their values in the order of FIELDS."""
    return {
        lane: Backlog.read(text)
        for lane, text in zip(FIELDS.values(), values, strict=True)
        if text is not None
    }


__all__ = ["FIELDS", "WINDOWED", "Backlog", "read_backlogs"]
