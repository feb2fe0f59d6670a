"""What do a supervisor and its child tell each other?

Lines of JSON over a socket pair. The child says that its loop turns (`tick`); the supervisor says until when the lease is good
(`proof`), and asks it to drain. The end of the stream is a message too: the other one is dead. So is the exit code.
"""

from __future__ import annotations

import asyncio
import socket
import time

import msgspec
from msgspec import Struct, field

EXIT_STORE_AWAY = 69  # it could not start: Postgres takes no connections
EXIT_UNCLOSED = 74  # it drained, but could not close its incarnation: a store was away
EXIT_LEASE_LOST = 75  # it lost its right to work

# A worker of no more queues than this asks about each of them: a doorbell each, all leases in a beat, all lists in a sweep.
# A worker of more asks about all of them together, and about one only when there is a reason.
FEW_QUEUES = 8


class ChildSpec(Struct, frozen=True, kw_only=True):
    """What a child is to be, given on its command line as JSON."""

    worker_id: str
    app: str  # "module:attribute"
    queues: list[str]
    concurrency: int
    isolated: bool
    renewed_at: float = field(name="proof")  # boot time in seconds
    supervisor: int | None = None  # its pid


class FromChild(Struct, frozen=True, omit_defaults=True):
    """A line from the child."""

    running: int = 0
    taken: int = 0  # attempts that it has run so far
    ready: bool = False
    leaving: bool = False  # it ends by its own decision: no handler ended it
    closed: bool = False  # everything was settled and released: nothing to reap


class FromSupervisor(Struct, frozen=True, omit_defaults=True):
    """A line from the supervisor. `proof` is boot time in seconds; `drain` is the grace in seconds."""

    renewed_at: float | None = field(default=None, name="proof")
    drain: float | None = None
    lease_lost: str | None = field(default=None, name="fence")


def boottime() -> float:
    """Seconds on a clock that runs on while the machine is suspended (CLOCK_BOOTTIME if available; docs/pitfalls.md#p34)."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


class Channel:
    """One end of the pair."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, end: socket.socket) -> Channel:
        """The end of a socket pair as a link."""
        return cls(*await asyncio.open_unix_connection(sock=end))

    def send(self, message: FromChild | FromSupervisor) -> None:
        """Say something; to a dead one in vain. Messages are few and tiny, so nothing waits for the buffer."""
        if not self._writer.is_closing():
            self._writer.write(msgspec.json.encode(message) + b"\n")

    async def receive(self) -> bytes | None:
        """The next line, or None when the other end is gone."""
        try:
            line = await self._reader.readline()
        except ConnectionError:
            return None
        return line if line.endswith(b"\n") else None

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


__all__ = [
    "EXIT_LEASE_LOST",
    "EXIT_STORE_AWAY",
    "EXIT_UNCLOSED",
    "FEW_QUEUES",
    "Channel",
    "ChildSpec",
    "FromChild",
    "FromSupervisor",
    "boottime",
]
