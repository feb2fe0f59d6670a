"""Write the counts of this process to the ledger, a few times a minute.

Each flush holds the counts since the one before. Its rows and its number are one statement, so
a flush whose answer was lost is sent again under the same number and counts once. While Postgres is
away the counts stay in memory, which the bound of a tally limits, and the next flush that succeeds
holds them all. A process that is killed takes the counts since its last flush with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from math import inf
from time import monotonic
from uuid import uuid4

from leaseq.errors import ServerUnreachable
from leaseq.ledger.statistics import CountedPair, Reporter, StatisticsLedger
from leaseq.loop import end, run_forever
from leaseq.metrics.increments import Increments
from leaseq.metrics.tally import BOUNDS, Labels, Series
from leaseq.observability.telemetry import emit
from leaseq.safe_text.exceptions import told

FLUSH_SECONDS = 10.0
# A process with nothing to report says so at least this often.
SILENCE_SECONDS = 60.0
# A server that does not answer must not delay the end of the process.
END_SECONDS = 0.3

_OUTCOMES = ("succeeded", "errored", "timed_out", "cancelled", "released", "lost")
# Metrics, and the field of `CountedPair` for each value of their last label.
_COUNTERS = {
    "leaseq_submissions_total": {"created": "created", "replayed": "replayed"},
    "leaseq_attempts_total": {outcome: outcome for outcome in _OUTCOMES},
    "leaseq_tasks_ended_total": {"FAILED": "failed_tasks", "CANCELLED": "cancelled_tasks"},
}
_HISTOGRAMS = {
    "leaseq_wait_seconds": ("waited", "waits"),
    "leaseq_attempt_duration_seconds": ("ran", "runs"),
}
_STARTED = "leaseq_attempts_started_total"
COUNTED = frozenset({*_COUNTERS, *_HISTOGRAMS, _STARTED})


class StatisticsFlush:
    """The flushes of one process."""

    def __init__(
        self, ledger: StatisticsLedger, role: Reporter, source: Callable[[], Iterable[Series]]
    ) -> None:
        self._ledger = ledger
        self._role: Reporter = role
        self._process = uuid4().hex
        self._increments = Increments(source, names=COUNTED)
        self._number = 0
        self._unanswered: list[CountedPair] | None = None
        # A program reports only when it has submitted something.
        self._silence_seconds = inf if role == "program" else SILENCE_SECONDS
        self._due = inf if role == "program" else 0.0

    async def flush(self) -> None:
        """Write the counts since the last flush. Raises `ServerUnreachable`; then the counts are kept."""
        if self._unanswered is not None:
            await self._write(self._unanswered)
        counted = pairs_of(self._increments.take())
        if counted or monotonic() >= self._due:
            self._number += 1
            await self._write(counted)

    async def _write(self, counted: list[CountedPair]) -> None:
        self._unanswered = counted
        await self._ledger.flush(self._process, self._role, self._number, counted)
        self._unanswered, self._due = None, monotonic() + self._silence_seconds


def pairs_of(counted: Iterable[Series]) -> list[CountedPair]:
    """The same counts by queue and type."""
    pairs: dict[Labels, CountedPair] = {}
    for series in counted:
        queue, type_name, *rest = series.labels
        pair = pairs.get((queue, type_name))
        if pair is None:
            pair = pairs[queue, type_name] = CountedPair(queue=queue, type=type_name)
        if series.name in _HISTOGRAMS:
            total, counts = _HISTOGRAMS[series.name]
            setattr(pair, total, series.value)
            setattr(pair, counts, _whole(series.counts))
        elif series.name == _STARTED:
            pair.started = round(series.value)
        elif field := _COUNTERS[series.name].get(rest[0]):
            setattr(pair, field, round(series.value))
    return list(pairs.values())


def _whole(counts: tuple[tuple[int, int], ...]) -> list[int]:
    """A histogram with its zeros, except those at its end."""
    whole = [0] * min(1 + max((index for index, _ in counts), default=-1), len(BOUNDS) + 1)
    for index, count in counts:
        whole[index] = count
    return whole


@asynccontextmanager
async def flushing(
    ledger: StatisticsLedger, role: Reporter, source: Callable[[], Iterable[Series]]
) -> AsyncIterator[StatisticsFlush]:
    """Flush the counts of this process for as long as the block lasts, and at its end."""
    statistics = StatisticsFlush(ledger, role, source)

    async def flush() -> None:
        # An outage of Postgres is reported by the code that needs it. The next flush tries again.
        with suppress(ServerUnreachable):
            await statistics.flush()

    flushes = asyncio.create_task(
        run_forever(flush, name="statistics", interval_seconds=FLUSH_SECONDS, stop=asyncio.Event())
    )
    try:
        yield statistics
    finally:
        await end(flushes)
        await _flush_last(statistics)


async def _flush_last(statistics: StatisticsFlush) -> None:
    """Flush at the end of the process, which no error of statistics may disturb."""
    try:
        async with asyncio.timeout(END_SECONDS):
            await statistics.flush()
    except (ServerUnreachable, TimeoutError):
        pass  # reported by the code that needs Postgres
    except Exception as error:
        emit("loop.failed", loop="statistics", error=told(error))


__all__ = ["COUNTED", "StatisticsFlush", "flushing", "pairs_of"]
