"""The history of a run, as each process recorded it.

The history is the only evidence: append-only, one file per process, one JSON line per event, in the
four kinds of Jepsen. Invariants: `fail` is recorded only for operations that certainly had no
effect (time-outs, resets and 5xx are `info`); an event is one `write` on a descriptor opened for
appending, so that a process killed in the middle tears at most its own last line.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

__all__ = ["Event", "Kind", "Recorder", "boottime", "read_history"]


class Kind(StrEnum):
    """How much an event claims."""

    INVOKE = "invoke"  # an operation begins
    OK = "ok"  # it certainly took effect
    FAIL = "fail"  # it certainly did not
    INFO = "info"  # it may or may not have; or a remark


class Event(Struct, frozen=True, omit_defaults=True):
    """One line of a history. docs/chaos.md lists the possible values of `op` and `value`."""

    at: int  # CLOCK_BOOTTIME of this host in nanoseconds: one clock for all processes of a run
    process: str
    kind: Kind
    op: str
    key: str | None = None  # the idempotency key, or the number of a fault
    task: str | None = None
    attempt: int | None = None
    value: Any = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Event)


def boottime() -> int:
    """Nanoseconds since the machine started, suspended time included where the system counts it."""
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Recorder:
    """Writes the history of one process."""

    def __init__(self, directory: Path, process: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.process = process
        self._fd = os.open(
            directory / f"{process}.jsonl",
            os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC,
            0o644,
        )

    def note(self, kind: Kind, op: str, *, at: int | None = None, **about: Any) -> Event:
        """Append one event, of now or `at` a time of the same clock; `about` are the other fields
        of an Event."""
        event = Event(boottime() if at is None else at, self.process, kind, op, **about)
        os.write(self._fd, _encoder.encode(event) + b"\n")
        return event

    def close(self) -> None:
        os.close(self._fd)


def read_history(directory: Path) -> list[Event]:
    """Every event of every process, in the order of their times. Raises DecodeError on a line that
    is broken, unless it is the torn last one of a process that was killed."""
    events = [event for file in sorted(directory.glob("*.jsonl")) for event in _read(file)]
    events.sort(key=lambda event: event.at)  # stable: the order within a process stays
    return events


def _read(file: Path) -> Iterator[Event]:
    lines = file.read_bytes().split(b"\n")
    torn = lines.pop()
    for line in lines:
        if line:
            yield _decoder.decode(line)
    if torn:
        try:
            yield _decoder.decode(torn)
        except msgspec.DecodeError:
            return
