"""Read the statistics of the last hour, six hours, day or week.

A figure that is not known is None, never 0: a step that began before processes reported, or after
the last report. Rates of the present step are those of the time that has passed in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from typing import Annotated, Literal

from msgspec import Meta, Struct

from leaseq.ledger.statistics import (
    HOUR,
    MINUTE,
    SILENT_SECONDS,
    TEN_MINUTES,
    Counted,
    CountedPair,
    CountedStep,
    Reports,
    StatisticsLedger,
)
from leaseq.metrics.percentiles import percentile
from leaseq.model import Moment

Window = Literal["1h", "6h", "24h", "7d"]
# The length of a window and of its steps in seconds. A step has at most 500 pairs of queue and type,
# so a window reads less than 4,000 blocks.
WINDOWS: dict[Window, tuple[int, int]] = {
    "1h": (3600, MINUTE),
    "6h": (6 * 3600, TEN_MINUTES),
    "24h": (24 * 3600, TEN_MINUTES),
    "7d": (7 * 86_400, HOUR),
}
MOST_TYPES = 100
# Without a fold for so long no reaper does it.
UNFOLDED_SECONDS = 120.0


Count = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0)]
PerSecond = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]


class Durations(Struct, frozen=True, kw_only=True):
    """How long something took, in seconds. The percentiles are within 19 %."""

    count: Count
    mean: Seconds | None
    p50: Seconds | None
    p95: Seconds | None
    p99: Seconds | None


class EndedAttempts(Struct, frozen=True, kw_only=True):
    """Attempts that ended, by outcome."""

    succeeded: Count
    errored: Count
    timed_out: Count
    cancelled: Count
    released: Count
    lost: Count


class Figures(Struct, frozen=True, kw_only=True):
    """The counts of some time. `failing_share`: of the attempts that ended, those that errored,
    timed out or were lost; null if none ended."""

    submitted: Count
    replayed: Count
    started: Count
    ended: EndedAttempts
    failed_tasks: Count
    cancelled_tasks: Count
    submitted_per_second: PerSecond
    started_per_second: PerSecond
    ended_per_second: PerSecond
    failing_share: Share | None
    wait: Durations
    run: Durations


class StatisticsStep(Struct, frozen=True, kw_only=True):
    """One step of a window, of which `seconds` have passed. `figures` is null where they are not
    known."""

    at: Moment
    seconds: Seconds
    figures: Figures | None


class TypeFigures(Struct, frozen=True, kw_only=True):
    """One type in one queue. `run_share`: of the run time of all that the answer is about."""

    queue: str
    type: str
    figures: Figures
    run_share: Share | None


class QueueFigures(Struct, frozen=True, kw_only=True):
    """One queue, with all of its types."""

    queue: str
    figures: Figures


class Statistics(Struct, frozen=True, kw_only=True):
    """The statistics of a window. `unknown`: why figures are missing or may lack something."""

    window: Window
    step_seconds: Count
    now: Moment
    since: Moment | None
    last_flush_at: Moment | None
    reporting: Count
    unknown: str | None
    total: Figures | None
    steps: list[StatisticsStep]
    types: list[TypeFigures]
    queues: list[QueueFigures]


async def read_statistics(
    ledger: StatisticsLedger, window: Window, *, queue: str | None, type_name: str | None
) -> Statistics:
    """The statistics of the window that ends now. `types` and `queues`: those that ran longest first."""
    length, step = WINDOWS[window]
    reports = await ledger.read_reports()
    present = datetime.fromtimestamp(reports.now.timestamp() // step * step, UTC)
    first = present - timedelta(seconds=length - step)
    steps, pairs, queues = await ledger.sum_since(
        first, step=step, queue=queue, type_name=type_name, pairs=MOST_TYPES
    )
    begins = [first + timedelta(seconds=n * step) for n in range(length // step)]
    seconds = _known_seconds(reports, first)
    whole = _total(steps)
    return Statistics(
        window=window,
        step_seconds=step,
        now=reports.now,
        since=reports.began_at,
        last_flush_at=reports.flushed_at,
        reporting=reports.reporting,
        unknown=_why_unknown(reports, first),
        total=None if seconds is None else figures_of(whole, seconds),
        steps=_steps(begins, {each.at: each for each in steps}, reports, step),
        types=[_of_type(pair, seconds, whole.ran) for pair in pairs if seconds is not None],
        queues=[
            QueueFigures(queue=each.queue, figures=figures_of(each, seconds))
            for each in queues
            if seconds is not None
        ],
    )


def figures_of(counted: Counted, seconds: float) -> Figures:
    """The figures of the counts of so many seconds."""
    ended = EndedAttempts(
        succeeded=counted.succeeded,
        errored=counted.errored,
        timed_out=counted.timed_out,
        cancelled=counted.cancelled,
        released=counted.released,
        lost=counted.lost,
    )
    failing = counted.errored + counted.timed_out + counted.lost
    total = failing + counted.succeeded + counted.cancelled + counted.released
    return Figures(
        submitted=counted.created,
        replayed=counted.replayed,
        started=counted.started,
        ended=ended,
        failed_tasks=counted.failed_tasks,
        cancelled_tasks=counted.cancelled_tasks,
        submitted_per_second=counted.created / seconds,
        started_per_second=counted.started / seconds,
        ended_per_second=total / seconds,
        failing_share=failing / total if total else None,
        wait=durations_of(counted.waits, counted.waited),
        run=durations_of(counted.runs, counted.ran),
    )


def durations_of(counts: Sequence[int], total: float) -> Durations:
    """The durations of a histogram and of its sum."""
    count = sum(counts)
    return Durations(
        count=count,
        mean=total / count if count else None,
        p50=percentile(counts, 0.5),
        p95=percentile(counts, 0.95),
        p99=percentile(counts, 0.99),
    )


def _known_seconds(reports: Reports, first: datetime) -> float | None:
    """For how long of a window that begins at `first` the counts are known. None: not at all."""
    if reports.began_at is None or reports.flushed_at is None or reports.flushed_at < first:
        return None
    until = reports.now if _is_reported(reports) else reports.flushed_at
    return max((until - max(first, reports.began_at)).total_seconds(), 1.0)


def _is_reported(reports: Reports) -> bool:
    """Whether a process has reported a short while ago, so that no count means that nothing
    happened."""
    flushed = reports.flushed_at
    return flushed is not None and (reports.now - flushed).total_seconds() < SILENT_SECONDS


def _steps(
    begins: Iterable[datetime], found: dict[Moment, CountedStep], reports: Reports, step: int
) -> list[StatisticsStep]:
    return [
        StatisticsStep(
            at=begin,
            seconds=seconds,
            figures=figures_of(found.get(begin) or Counted(), seconds)
            if begin in found or _is_known(reports, begin, step)
            else None,
        )
        for begin in begins
        for seconds in [max(min((reports.now - begin).total_seconds(), step), 1.0)]
    ]


def _is_known(reports: Reports, begin: datetime, step: int) -> bool:
    """Whether a step without counts is one in which nothing happened."""
    if reports.began_at is None or reports.flushed_at is None:
        return False
    if begin + timedelta(seconds=step) <= reports.began_at:
        return False
    return begin <= reports.flushed_at or _is_reported(reports)


def _why_unknown(reports: Reports, first: datetime) -> str | None:
    if reports.began_at is None or reports.flushed_at is None:
        return "no process has reported statistics yet"
    if not _is_reported(reports):
        return "no process has reported for more than a minute: none of this version runs, or Postgres was away"
    waits = reports.waits_since
    if waits is not None and (reports.now - waits).total_seconds() > UNFOLDED_SECONDS:
        return "no reaper has summed the last reports, and part of them may be missing: start a reaper of this version"
    if reports.began_at > first:
        return "statistics began later than this window"
    return None


def _of_type(pair: CountedPair, seconds: float, ran: float) -> TypeFigures:
    share = pair.ran / ran if ran else None
    return TypeFigures(
        queue=pair.queue, type=pair.type, figures=figures_of(pair, seconds), run_share=share
    )


def _total(steps: Sequence[CountedStep]) -> Counted:
    """The sums of all steps."""
    total = Counted()
    for name in Counted.__struct_fields__:
        if name in ("waits", "runs"):
            lists = (getattr(step, name) for step in steps)
            setattr(total, name, [sum(column) for column in zip_longest(*lists, fillvalue=0)])
        else:
            setattr(total, name, sum(getattr(step, name) for step in steps))
    return total


__all__ = [
    "MOST_TYPES",
    "WINDOWS",
    "Durations",
    "EndedAttempts",
    "Figures",
    "QueueFigures",
    "Statistics",
    "StatisticsStep",
    "TypeFigures",
    "Window",
    "figures_of",
    "read_statistics",
]
