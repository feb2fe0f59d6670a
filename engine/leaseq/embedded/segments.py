"""Remove the shared-memory segment that a killed Postgres leaves in the kernel.

Postgres keeps a System V segment of a few bytes, by which a second server on the same data notices
the first. A killed server leaves it behind, and its next start removes it. A server whose data are
deleted has no next start. The kernel has room for 4,096 segments, and when they are used up, no
Postgres starts on that machine.

Invariant: a segment is removed only if it has the key that the server wrote down, belongs to the
account of the server, and has no attached process.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

from msgspec import Struct

__all__ = ["Segment", "exists", "remove", "segment_in"]

# The line of postmaster.pid with the key and the id of the segment (PostgreSQL 8.0 and later).
LINE = 6
TABLE = Path("/proc/sysvipc/shm")
IPC_RMID = 0


class Segment(Struct, frozen=True):
    """A segment: its key, the id from the kernel, and the account of its server."""

    key: int
    id: int
    uid: int


def segment_in(text: str | None, *, uid: int) -> Segment | None:
    """The segment in the pid file of a server of this account that runs or was killed."""
    try:
        key, id_ = (text or "").splitlines()[LINE].split()
        return Segment(int(key), int(id_), uid)
    except (ValueError, IndexError):
        return None


def exists(segment: Segment) -> bool:
    """Whether the kernel still has it. False if the system does not report it."""
    return _attached(segment) is not None


def remove(segment: Segment) -> None:
    """Return it to the kernel, if no process uses it."""
    if _attached(segment) == 0:
        ctypes.CDLL(None).shmctl(segment.id, IPC_RMID, None)


def _attached(segment: Segment) -> int | None:
    """How many processes are attached to it; None if there is no such segment."""
    try:
        names, *rows = (line.split() for line in TABLE.read_text(encoding="ascii").splitlines())
    except (OSError, ValueError):
        return None
    for row in rows:
        found = dict(zip(names, row, strict=False))
        # The table has the key as a signed number, the pid file as an unsigned one.
        same = (
            int(found["shmid"]) == segment.id and int(found["key"]) % 2**32 == segment.key % 2**32
        )
        if same and int(found["uid"]) == segment.uid:
            return int(found["nattch"])
    return None
