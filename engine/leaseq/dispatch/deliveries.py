"""Which of the strings found in a list are deliveries, and which are garbage?

Every value in Redis is treated as hostile: what is not a task id is never decoded further, only parked and reported.
"""

from __future__ import annotations

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
    """What was found in a list: task ids, and whatever else (as it was)."""

    task_ids: list[str]
    garbage: list[bytes]
    code: PullCode = PullCode.OK


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


def read_leases(flat: Sequence[Any]) -> list[LeaseView]:
    """The reply of list_leases.lua."""
    return [LeaseView(flat[i].decode(errors="replace"), int(flat[i + 1]), int(flat[i + 2])) for i in range(0, len(flat), 3)]


def as_bytes(value: bytes | str) -> bytes:
    """A reply of redis-py, whose types do not know that this client never decodes."""
    return value if isinstance(value, bytes) else value.encode()


def sort_out(values: Iterable[bytes | str], *, code: PullCode = PullCode.OK) -> Deliveries:
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
    return Deliveries(task_ids, garbage, code)


__all__ = ["Deliveries", "LeaseView", "Place", "PullCode", "Release", "as_bytes", "read_leases", "sort_out"]
