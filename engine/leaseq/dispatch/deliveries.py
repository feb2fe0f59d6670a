"""Tell deliveries from what else is found in the lists of dispatch.

Every value in Redis is treated as hostile. What cannot be a task id by its length is parked on the server and comes here as a
number only (pull.lua, held.lua). What has that length and is no task id is never decoded further, only parked and reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct

from leaseq.codec import is_task_id
from leaseq.model import Lane


class PullCode(StrEnum):
    """How a pull ended."""

    OK = "ok"
    PAUSED = "paused"
    CLOSED = "closed"


class Deliveries(Struct, frozen=True):
    """What was found in a list: task ids, whatever else has their length (as it was), and how many values were parked."""

    task_ids: list[str]
    garbage: list[bytes]
    code: PullCode = PullCode.OK
    parked: int = 0

    @property
    def count(self) -> int:
        """How many values were found."""
        return len(self.task_ids) + len(self.garbage) + self.parked


class Place(StrEnum):
    """Where a delivery goes when it leaves a processing list, besides the head of a lane."""

    DONE = ""
    PARKED = "parked"


class Release(Struct, frozen=True):
    """One delivery and where it goes: done with, parked, or to the head of a lane."""

    delivery: str | bytes
    place: Place | Lane = Place.DONE


class LeaseView(Struct, frozen=True):
    """One registered incarnation as dispatch sees it. `left_ms` is negative once the lease has run out."""

    worker_id: str
    left_ms: int
    beat: int


# What counts beats. Another text stands for a beat that has never moved.
BEAT = re.compile(rb"[0-9]{1,19}")


def read_leases(reply: Sequence[Any]) -> list[LeaseView]:
    """The reply of list_leases.lua."""
    flat = reply[1:]
    return [LeaseView(flat[i].decode(), int(flat[i + 1]), _beat(flat[i + 2])) for i in range(0, len(flat), 3)]


def _beat(text: bytes) -> int:
    return int(text) if BEAT.fullmatch(text) else 0


def as_bytes(value: bytes | str) -> bytes:
    """A reply of redis-py, whose types do not know that this client never decodes."""
    return value if isinstance(value, bytes) else value.encode()


def sort_out(values: Iterable[bytes | str], *, code: PullCode = PullCode.OK, parked: int = 0) -> Deliveries:
    """Tell deliveries from garbage; the doorbell's empty tokens are garbage too."""
    task_ids: list[str] = []
    garbage: list[bytes] = []
    for value in values:
        raw = as_bytes(value)
        text = raw.decode("ascii", "replace")
        if is_task_id(text):
            task_ids.append(text)
        else:
            garbage.append(raw)
    return Deliveries(task_ids, garbage, code, parked)


__all__ = ["Deliveries", "LeaseView", "Place", "PullCode", "Release", "as_bytes", "read_leases", "sort_out"]
