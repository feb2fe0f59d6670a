"""Readings, and their summary over several runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from msgspec import Struct


class Reading(Struct, frozen=True):
    """One figure as one run gave it."""

    name: str
    unit: str
    value: float


class Figure(Struct, frozen=True):
    """One figure of a measurement, over all its runs, in their order."""

    name: str
    unit: str
    values: list[float]

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        """The least and the most."""
        return min(self.values), max(self.values)


def combine(runs: Sequence[Sequence[Reading]]) -> list[Figure]:
    """One figure for each name, in the order of the first run."""
    values: dict[tuple[str, str], list[float]] = {}
    for reading in (reading for run in runs for reading in run):
        values.setdefault((reading.name, reading.unit), []).append(reading.value)
    return [Figure(name, unit, found) for (name, unit), found in values.items()]


def percentile(values: Sequence[float], share: float) -> float:
    """The least of `values` that is not exceeded by `share` of them (nearest rank)."""
    return sorted(values)[max(math.ceil(share * len(values)) - 1, 0)]


def each_kill(name: str, values: Sequence[float]) -> list[Reading]:
    """The usual three of a row of kills, in milliseconds, and every single one."""
    return [
        *percentiles(name, values, unit="ms"),
        *(Reading(f"{name} each", "ms", value) for value in values),
    ]


def percentiles(name: str, values: Sequence[float], *, unit: str) -> list[Reading]:
    """The usual three of a measurement: p50, p99, max."""
    return [
        Reading(f"{name} p50", unit, percentile(values, 0.5)),
        Reading(f"{name} p99", unit, percentile(values, 0.99)),
        Reading(f"{name} max", unit, max(values)),
    ]
