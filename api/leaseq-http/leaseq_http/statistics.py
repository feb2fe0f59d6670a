"""Statistics over time, as the service answers them."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct


class Durations(Struct, frozen=True, kw_only=True):
    """How long something took, in seconds. The percentiles are within 19 %."""

    count: int
    mean: float | None
    p50: float | None
    p95: float | None
    p99: float | None


class EndedAttempts(Struct, frozen=True, kw_only=True):
    """Attempts that ended, by outcome."""

    succeeded: int
    errored: int
    timed_out: int
    cancelled: int
    released: int
    lost: int


class Figures(Struct, frozen=True, kw_only=True):
    """The counts of some time."""

    submitted: int
    replayed: int
    started: int
    ended: EndedAttempts
    failed_tasks: int
    cancelled_tasks: int
    submitted_per_second: float
    started_per_second: float
    ended_per_second: float
    failing_share: float | None
    wait: Durations
    run: Durations


class StatisticsStep(Struct, frozen=True, kw_only=True):
    """One step of a window. `figures` is None where they are not known."""

    at: datetime
    seconds: float
    figures: Figures | None


class TypeFigures(Struct, frozen=True, kw_only=True):
    """One type in one queue, and its share of the run time of all."""

    queue: str
    type: str
    figures: Figures
    run_share: float | None


class QueueFigures(Struct, frozen=True, kw_only=True):
    """One queue, with all of its types."""

    queue: str
    figures: Figures


class Statistics(Struct, frozen=True, kw_only=True):
    """The statistics of a window. `unknown`: why figures are missing or may lack something."""

    window: str
    step_seconds: int
    now: datetime
    since: datetime | None
    last_flush_at: datetime | None
    reporting: int
    unknown: str | None
    total: Figures | None
    steps: list[StatisticsStep]
    types: list[TypeFigures]
    queues: list[QueueFigures]


__all__ = [
    "Durations",
    "EndedAttempts",
    "Figures",
    "QueueFigures",
    "Statistics",
    "StatisticsStep",
    "TypeFigures",
]
