"""The counts of a tally since a reader looked last.

A reader does not change the tally, so several may look at one: the metrics of a process are its sums
since its start, while its statistics are written as increments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from leaseq.metrics.catalogue import METRICS
from leaseq.metrics.tally import Labels, Series


class Increments:
    """The increments of the series that `source` gives, `from_now` on or from its beginning."""

    def __init__(
        self,
        source: Callable[[], Iterable[Series]],
        *,
        names: frozenset[str],
        from_now: bool = True,
    ) -> None:
        self._source = source
        self._names = names
        self._seen: dict[tuple[str, Labels], Series] = {}
        if from_now:
            self.take()

    def take(self) -> list[Series]:
        """The counters and histograms that have grown since the call before, by how much."""
        grown: list[Series] = []
        for (name, labels), series in self._sums().items():
            before = self._seen.get((name, labels))
            if before is None:
                grown.append(series)
            elif before != series:
                grown.append(_difference(series, before))
            self._seen[name, labels] = series
        return grown

    def _sums(self) -> dict[tuple[str, Labels], Series]:
        """Each series once: a tally may count the same series in two ways."""
        found: dict[tuple[str, Labels], Series] = {}
        for series in self._source():
            if series.name in self._names and METRICS[series.name].kind in ("counter", "histogram"):
                key = series.name, series.labels
                before = found.get(key)
                found[key] = series if before is None else add(before, series)
        return found


def add(one: Series, other: Series) -> Series:
    """The sum of two series of the same name and labels."""
    return _combined(one, other, 1)


def _difference(series: Series, before: Series) -> Series:
    return _combined(series, before, -1)


def _combined(one: Series, other: Series, sign: int) -> Series:
    counts = dict(one.counts)
    for index, count in other.counts:
        counts[index] = counts.get(index, 0) + sign * count
    packed = tuple((index, count) for index, count in sorted(counts.items()) if count)
    return Series(one.name, one.labels, one.value + sign * other.value, packed)


__all__ = ["Increments", "add"]
