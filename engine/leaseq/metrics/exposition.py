"""Write metrics in the text formats of Prometheus and OpenMetrics.

The words are the library's: this file hands it the counts as families. They are written in a
thread, because a full tally is 25,000 lines, and the loop of a supervisor has leases to renew.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial
from importlib.metadata import version
from itertools import accumulate
from platform import python_version

from prometheus_client import ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from leaseq.metrics.catalogue import METRICS, Role
from leaseq.metrics.tally import BOUNDS, Labels, Series

# Powers of two, and infinity.
EXPOSED = BOUNDS[::2]
_BUCKETS = [*(repr(bound) for bound in EXPOSED), "+Inf"]

Source = Callable[[], Iterable[Series]]
Refresh = Callable[[], Awaitable[None]]


# The content types of both formats.
PLAIN = CONTENT_TYPE_PLAIN_0_0_4
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_BUILD = Series("leaseq_build_info", (version("leaseq"), python_version()), 1)


class Exposition:
    """The metrics of one process. Each of `sources` is asked at every scrape, after `refresh`."""

    def __init__(
        self,
        role: Role,
        *sources: Source,
        refresh: Refresh | None = None,
        pids: Callable[[], dict[str, int]] | None = None,
    ) -> None:
        self._role = role
        self._sources = sources
        self._refresh = refresh
        self._pids = pids or _own_pid

    async def render(self, accept: str) -> tuple[bytes, str]:
        """The text in the format that an Accept header asks for, and its content type."""
        if self._refresh is not None:
            await self._refresh()
        series = [_BUILD, *(each for source in self._sources for each in source())]
        is_open = choose_encoder(accept)[1].startswith("application/openmetrics-text")
        encode, _ = choose_encoder(OPENMETRICS if is_open else PLAIN)
        content_type = OPENMETRICS if is_open else PLAIN
        families = Families(self._role, series, self._pids())
        return await asyncio.to_thread(encode, families), content_type


class Families(Collector):
    """The families of a role with these series, as the library collects them. `pids`: processes by
    the label `child`, which is empty for the process itself."""

    def __init__(
        self, role: Role, series: Sequence[Series], pids: dict[str, int] | None = None
    ) -> None:
        self._role = role
        self._series = series
        self._pids = _own_pid() if pids is None else pids

    def collect(self) -> Iterator[Metric]:
        """All families of this role, those without a series, too, and those of the process."""
        families = {
            name: _family(name) for name, metric in METRICS.items() if self._role in metric.roles
        }
        for series in _merged(each for each in self._series if each.name in families):
            _add(families[series.name], series)
        yield from families.values()
        yield from _of_processes(self._role, self._pids)


def _own_pid() -> dict[str, int]:
    return {"": os.getpid()}


def _of_processes(role: Role, pids: dict[str, int]) -> Iterable[Metric]:
    """The standard metrics of processes. One that has ended has none."""
    families: dict[str, Metric] = {}
    for child, pid in pids.items():
        for found in ProcessCollector(pid=partial(int, pid), registry=None).collect():
            family = families.setdefault(
                found.name, Metric(found.name, found.documentation, found.type)
            )
            for sample in found.samples:
                family.add_sample(sample.name, {"role": role, "child": child}, sample.value)
    return families.values()


def _merged(found: Iterable[Series]) -> Iterable[Series]:
    """Each series once. A supervisor counts lost attempts itself, beside those that its worker
    processes report, and both count. Of a gauge with two sources the later one does."""
    merged: dict[tuple[str, Labels], Series] = {}
    for series in found:
        key = series.name, series.labels
        before = merged.get(key)
        if before is not None and METRICS[series.name].kind in ("counter", "histogram"):
            counts = (*before.counts, *series.counts)
            series = Series(series.name, series.labels, before.value + series.value, counts)
        merged[key] = series
    return merged.values()


def _family(name: str) -> Metric:
    metric = METRICS[name]
    labels = list(metric.labels)
    if metric.kind == "counter":
        return CounterMetricFamily(name, metric.text, labels=labels, unit=metric.unit)
    if metric.kind == "histogram":
        return HistogramMetricFamily(name, metric.text, labels=labels, unit=metric.unit)
    if metric.kind == "info":
        return InfoMetricFamily(name.removesuffix("_info"), metric.text)
    return GaugeMetricFamily(name, metric.text, labels=labels, unit=metric.unit)


def _add(family: Metric, series: Series) -> None:
    if isinstance(family, HistogramMetricFamily):
        family.add_metric(series.labels, _buckets(series), series.value)
    elif isinstance(family, InfoMetricFamily):
        family.add_metric([], dict(zip(METRICS[series.name].labels, series.labels, strict=True)))
    elif isinstance(family, CounterMetricFamily | GaugeMetricFamily):
        family.add_metric(series.labels, series.value)


def _buckets(series: Series) -> list[tuple[str, float]]:
    """The cumulative counts of the exposed bounds. Those of half steps count in the next one."""
    counts = [0] * len(_BUCKETS)
    for index, count in series.counts:
        counts[(index + 1) // 2] += count
    return list(zip(_BUCKETS, accumulate(counts), strict=True))


__all__ = ["EXPOSED", "OPENMETRICS", "PLAIN", "Exposition", "Refresh", "Source"]
