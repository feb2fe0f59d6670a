"""The metrics by which a reaper speaks for the cluster.

The stores are asked at a scrape, at most once a second, and each within `STORE_SECONDS`. Gauges of
a store that does not answer are left out, and `leaseq_store_up` is 0 for it: an old number would
look like a true one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from time import monotonic

from leaseq.errors import LeaseqError
from leaseq.ledger.census import Census
from leaseq.ledger.cluster import (
    CountedWorkers,
    MeasuredCluster,
    MeasuredLimit,
    MeasuredQueue,
    MeasuredSchedules,
)
from leaseq.metrics.tally import MOST_PAIRS, OTHER, Series
from leaseq.operations.engine import Engine

FRESH_SECONDS = 1.0
STORE_SECONDS = 2.0
LANES = ("high", "normal", "low", "suspect")


class ClusterMetrics:
    """Samples both stores. `engine` is None until the reaper has connected."""

    def __init__(self) -> None:
        self.engine: Engine | None = None
        self._asked = float("-inf")
        self._lock = asyncio.Lock()
        self._series: list[Series] = [_up("ledger", False)]

    async def refresh(self) -> None:
        """Ask the stores, unless that was done a moment ago."""
        async with self._lock:
            if self.engine is None or monotonic() - self._asked < FRESH_SECONDS:
                return
            self._asked = monotonic()
            self._series = await _sample(self.engine)

    def series(self) -> list[Series]:
        """The gauges of the last sample."""
        return self._series


async def _sample(engine: Engine) -> list[Series]:
    found: list[Series] = []
    names: list[str] = []
    now: float | None = None
    try:
        async with asyncio.timeout(STORE_SECONDS):
            cluster = await engine.measure_cluster(queues=MOST_PAIRS)
            census = await engine.census.read()
    except (LeaseqError, TimeoutError):
        found.append(_up("ledger", False))
    else:
        names, now = [queue.name for queue in cluster.queues], cluster.workers.now
        found += [_up("ledger", True), *_of_queues(cluster.queues), *_of_workers(cluster.workers)]
        found += [*_of_tasks(cluster, census), *_of_limits(cluster.limits)]
        found += _of_schedules(cluster.schedules)
        sizes = cluster.table_bytes.items()
        found += [Series("leaseq_ledger_bytes", (name,), size) for name, size in sizes]
    try:
        async with asyncio.timeout(STORE_SECONDS):
            memory = await engine.measure_dispatch_memory()
    except (LeaseqError, TimeoutError):
        return [*found, _up("dispatch", False)]
    if memory is not None:
        found.append(Series("leaseq_dispatch_memory_bytes", (), memory))
    return [*found, _up("dispatch", True), *await _of_lanes(engine, names, now)]


async def _of_lanes(engine: Engine, names: list[str], now: float | None) -> list[Series]:
    found: list[Series] = []
    for name, depths in (await engine.count_deliveries(names, seconds=STORE_SECONDS)).items():
        found += [
            Series("leaseq_queue_waiting", (name, lane), getattr(depths, lane)) for lane in LANES
        ]
        is_backlogged = depths.backlog_since is not None
        found.append(Series("leaseq_queue_backlogged", (name,), is_backlogged))
        since = [at for at in (depths.oldest_at, depths.backlog_since) if at is not None]
        if now is not None:
            oldest = now - min(since).timestamp() if since else 0.0
            found.append(Series("leaseq_queue_oldest_seconds", (name,), max(oldest, 0.0)))
            behind = depths.backlog_since
            age = now - behind.timestamp() if behind is not None else 0.0
            found.append(Series("leaseq_queue_backlog_age_seconds", (name,), max(age, 0.0)))
    return found


def _of_queues(queues: list[MeasuredQueue]) -> Iterator[Series]:
    for queue in queues:
        yield Series("leaseq_queue_paused", (queue.name,), queue.paused)
        yield Series("leaseq_queue_workers", (queue.name,), queue.workers)
        yield Series("leaseq_queue_slots", (queue.name,), queue.slots)
        yield Series("leaseq_due_overdue_seconds", (queue.name,), queue.overdue_seconds or 0.0)


def _of_tasks(cluster: MeasuredCluster, census: Census | None) -> Iterator[Series]:
    for queue in cluster.queues:
        yield Series("leaseq_scheduled", (queue.name,), cluster.scheduled.get(queue.name, 0))
    for each in cluster.dead_letters:
        yield Series("leaseq_dead_letters", (each.queue, each.type), each.count)
    if cluster.other_letters:
        yield Series("leaseq_dead_letters", (OTHER, OTHER), cluster.other_letters)
    # A number that is only known to be below a bound is none.
    known = [each for each in census.counts if each.fewer_than is None] if census else []
    for count in known[:MOST_PAIRS]:
        yield Series("leaseq_tasks_estimated", (count.queue, count.state), count.count)
        yield Series("leaseq_tasks_estimated_error", (count.queue, count.state), count.error)


def _of_limits(limits: list[MeasuredLimit]) -> Iterator[Series]:
    for limit in limits:
        yield Series("leaseq_limit_admitted", (limit.name,), limit.admitted)
        yield Series("leaseq_limit_waiting", (limit.name,), limit.waiting)
        yield Series("leaseq_limit_oldest_seconds", (limit.name,), limit.oldest_seconds)
        if limit.concurrency is not None:
            yield Series("leaseq_limit_concurrency", (limit.name,), limit.concurrency)


def _of_schedules(schedules: MeasuredSchedules) -> Iterator[Series]:
    for state in ("running", "paused", "over"):
        yield Series("leaseq_schedules", (state,), getattr(schedules, state))
    yield Series("leaseq_schedule_overdue_seconds", (), schedules.overdue_seconds)


def _of_workers(workers: CountedWorkers) -> Iterator[Series]:
    yield Series("leaseq_workers", ("open",), workers.open)
    yield Series("leaseq_workers", ("silent",), workers.silent)


def _up(store: str, up: bool) -> Series:
    return Series("leaseq_store_up", (store,), up)


__all__ = ["ClusterMetrics"]
