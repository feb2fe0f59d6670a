"""The messages between a supervisor and a worker process that it has started.

They are lines of JSON over a socket pair. The worker process reports that its event loop turns, and
how many attempts run. The supervisor sends the time of the last renewal of the lease, and asks the
process to drain. The end of the stream is a message too: the other process is dead. So is the exit
code.

Invariant: the names in JSON stay as they are, since a supervisor may outlive an upgrade of the
package and start a newer worker process.
"""

from __future__ import annotations

import asyncio
import socket
import time

import msgspec
from msgspec import Struct, field

from leaseq.metrics.tally import Series

EXIT_STORE_AWAY = 69  # the process could not start: Postgres takes no connections
EXIT_UNCLOSED = 74  # it drained, but could not close its worker: a store was away
EXIT_LEASE_LOST = 75  # it lost its lease

# A worker of no more queues than this asks about each of them: a doorbell each, all leases in a
# heartbeat, all lists in an audit. A worker of more asks about all of them together, and about one
# only when there is a reason.
FEW_QUEUES = 8


class ChildSpec(Struct, frozen=True, kw_only=True):
    """The worker that a child process is, given on its command line as JSON."""

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
    leaving: bool = False  # the process ends by its own decision: no handler ended it
    closed: bool = False  # everything was settled and released: there is nothing to recover
    counted: tuple[Series, ...] = ()  # since the message before
    levels: tuple[Series, ...] = ()  # gauges, in place of those before


class FromSupervisor(Struct, frozen=True, omit_defaults=True):
    """A line from the supervisor.

    `renewed_at`: when the last acknowledged renewal was sent (boot time in seconds). `drain`: the
    grace in seconds. `lease_lost`: the reason why the worker has no lease any more.
    """

    renewed_at: float | None = field(default=None, name="proof")
    drain: float | None = None
    lease_lost: str | None = field(default=None, name="fence")


def boottime() -> float:
    """Seconds on a clock that runs on while the machine is suspended (CLOCK_BOOTTIME if available;
    docs/pitfalls.md#p34)."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


class Channel:
    """One end of the pair."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, end: socket.socket) -> Channel:
        """Make a channel of one end of a socket pair."""
        return cls(*await asyncio.open_unix_connection(sock=end))

    def send(self, message: FromChild | FromSupervisor) -> None:
        """Send a message. A dead process does not get it. Messages are few and tiny, so nothing
        waits for the buffer."""
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
        """Close this end."""
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
