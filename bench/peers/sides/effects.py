"""The effect log of handlers: records of 40 bytes in one file, for all contenders.

Each is appended by one `write`, which survives a `kill -9` of its process and costs a microsecond
on a file in memory. Times are of the monotonic clock, which all processes of a machine share.
Standard library only.
"""

import os
import struct
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

RECORD = struct.Struct("<5q")
START, END = 1, 2


class Effect(NamedTuple):
    """One record. `kind`: a handler began, or it did its work; times in nanoseconds."""

    kind: int
    order_id: int
    submitted_ns: int
    at_ns: int
    pid: int


_logs: dict[int, int] = {}


def record(kind: int, payload: Mapping[str, Any]) -> None:
    """Append one record to the file of BENCH_EFFECTS."""
    pid = os.getpid()
    if pid not in _logs:
        _logs[pid] = os.open(os.environ["BENCH_EFFECTS"], os.O_WRONLY | os.O_APPEND)
    os.write(
        _logs[pid], RECORD.pack(kind, payload["order_id"], payload["t"], time.monotonic_ns(), pid)
    )


def unpack(data: bytes) -> list[Effect]:
    """All whole records, in the order in which they were written."""
    whole = len(data) - len(data) % RECORD.size
    return [Effect(*fields) for fields in RECORD.iter_unpack(data[:whole])]
