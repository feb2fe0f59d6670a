"""The counts of several API processes on one port, as one.

The kernel chooses the process that answers a scrape, so each of them has to answer for all. Each
reports its counts every second, and before it answers a scrape, to the process that holds the port.
That one adds them up and returns the sums, which outlive a process that ends. So a counter falls only
when the whole service starts again, and a process that is killed takes the counts of its last second
with it.

The messages are lines of JSON over a socket pair, and both ends run the same version.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager

import msgspec
from msgspec import Struct

from leaseq.errors import ServerUnreachable
from leaseq.loop import end, run_forever
from leaseq.metrics.catalogue import METRICS
from leaseq.metrics.increments import Increments
from leaseq.metrics.tally import TALLY, Labels, Series, Tally

REPORT_SECONDS = 1.0
ANSWER_SECONDS = 2.0
# A line with the counts of 500 pairs of queue and type has less than a tenth of this.
LINE_BYTES = 16 * 1024 * 1024
# Counts stay in the process while so much is on its way, because the other one is frozen.
MOST_UNREAD = 1024 * 1024

COUNTED = frozenset(name for name, metric in METRICS.items() if metric.kind != "gauge")


class Report(Struct, frozen=True, omit_defaults=True):
    """The counts of one process since its report before, and its gauges. `asks`: it waits for the
    sums."""

    counted: tuple[Series, ...] = ()
    levels: tuple[Series, ...] = ()
    asks: bool = False


class Sums(Struct, frozen=True):
    """The counts of all processes, the sums of their gauges, and the pids of those that run."""

    series: tuple[Series, ...] = ()
    pids: dict[str, int] = {}


class SharedCounts:
    """The sums of all processes, in the process that holds the port."""

    def __init__(self) -> None:
        self._tally = Tally()
        self._levels: dict[int, tuple[Series, ...]] = {}
        self._pids: dict[int, int] = {}

    async def serve(self, ours: socket.socket, pid: int) -> None:
        """Add the reports of one process, and answer it, until it ends."""
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=LINE_BYTES)
        number = next(n for n in range(len(self._pids) + 1) if n not in self._pids)
        self._pids[number] = pid
        try:
            while line := await reader.readline():
                report = msgspec.json.decode(line, type=Report)
                self._tally.add(report.counted)
                self._levels[number] = report.levels
                if report.asks:
                    writer.write(msgspec.json.encode(self._sums()) + b"\n")
        except (ConnectionError, msgspec.DecodeError):
            pass  # it was killed, perhaps within a line
        finally:
            del self._pids[number]
            self._levels.pop(number, None)
            writer.close()

    def _sums(self) -> Sums:
        levels: dict[tuple[str, Labels], float] = {}
        for reported in self._levels.values():
            for name, labels, value in ((each.name, each.labels, each.value) for each in reported):
                levels[name, labels] = levels.get((name, labels), 0.0) + value
        gauges = tuple(Series(name, labels, value) for (name, labels), value in levels.items())
        pids = {str(number): pid for number, pid in sorted(self._pids.items())}
        return Sums((*self._tally.series(), *gauges), pids)


class CountsLink:
    """The link of one process to the process that holds the port."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        levels: Callable[[], Iterable[Series]],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._levels = levels
        self._increments = Increments(TALLY.series, names=COUNTED, from_now=False)
        self._lock = asyncio.Lock()
        self.sums = Sums()

    async def refresh(self) -> None:
        """Report, and ask for the sums. Raises `ServerUnreachable` if there is no answer."""
        async with self._lock:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    self._send(asks=True)
                    line = await self._reader.readline()
                self.sums = msgspec.json.decode(line, type=Sums)
            except (TimeoutError, ConnectionError, msgspec.DecodeError) as error:
                raise ServerUnreachable(
                    "the process that holds the port does not answer, and has the counts of all processes"
                ) from error

    def series(self) -> Iterator[Series]:
        """The sums of the last answer."""
        yield from self.sums.series

    async def report(self) -> None:
        """Report the counts since the report before."""
        if self._writer.transport.get_write_buffer_size() < MOST_UNREAD:
            self._send(asks=False)

    def _send(self, *, asks: bool) -> None:
        report = Report(tuple(self._increments.take()), tuple(self._levels()), asks)
        self._writer.write(msgspec.json.encode(report) + b"\n")

    async def aclose(self) -> None:
        """Report for the last time."""
        await self.report()
        self._writer.close()


@asynccontextmanager
async def linked_counts(
    descriptor: int, levels: Callable[[], Iterable[Series]]
) -> AsyncIterator[CountsLink]:
    """Report the counts of this process for as long as the block lasts."""
    theirs = socket.socket(fileno=descriptor)
    reader, writer = await asyncio.open_unix_connection(sock=theirs, limit=LINE_BYTES)
    link = CountsLink(reader, writer, levels)
    reports = asyncio.create_task(
        run_forever(
            link.report, name="counts", interval_seconds=REPORT_SECONDS, stop=asyncio.Event()
        )
    )
    try:
        yield link
    finally:
        await end(reports)
        await link.aclose()


__all__ = ["CountsLink", "SharedCounts", "Sums", "linked_counts"]
