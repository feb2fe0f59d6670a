"""Separate deliveries from other values in the lists of dispatch.

Every value in Redis is treated as hostile. A value whose length is not that of a task id is parked
on the server, and only counted here (pull.lua, held.lua). A value of that length that is not a task
id is never decoded, only parked and reported.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct

from leaseq.codec import TASK_ID
from leaseq.model import Lane


class PullCode(StrEnum):
    """How a pull ended."""

    OK = "ok"
    PAUSED = "paused"
    CLOSED = "closed"


class Deliveries(Struct, frozen=True):
    """The contents of a list: task ids, other values of that length (unchanged), and the number of
    parked values."""

    task_ids: list[str]
    garbage: list[bytes]
    code: PullCode = PullCode.OK
    parked: int = 0

    @property
    def count(self) -> int:
        """The number of values in the list."""
        return len(self.task_ids) + len(self.garbage) + self.parked


class Destination(StrEnum):
    """The destination of a delivery that leaves a processing list, besides the head of a lane."""

    DONE = ""
    PARKED = "parked"


class Release(Struct, frozen=True):
    """One delivery and its destination: done, parked, or the head of a lane."""

    delivery: str | bytes
    destination: Destination | Lane = Destination.DONE


def as_bytes(value: bytes | str) -> bytes:
    """A reply of redis-py, whose types do not express that this client never decodes."""
    return value if isinstance(value, bytes) else value.encode()


def sort_out(
    values: Iterable[bytes], *, code: PullCode = PullCode.OK, parked: int = 0
) -> Deliveries:
    """Separate deliveries from garbage. The doorbell's empty tokens count as garbage, too."""
    is_task_id = TASK_ID.fullmatch
    task_ids: list[str] = []
    garbage: list[bytes] = []
    for value in values:
        text = value.decode("ascii", "replace")
        if is_task_id(text):
            task_ids.append(text)
        else:
            garbage.append(value)
    return Deliveries(task_ids, garbage, code, parked)


__all__ = [
    "Deliveries",
    "Destination",
    "PullCode",
    "Release",
    "as_bytes",
    "sort_out",
]
