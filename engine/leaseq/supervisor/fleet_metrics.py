"""The metrics of a supervisor, which speaks for its worker processes.

Counters are those of the tally, into which the reports of all worker processes were added, also of
those that have ended. Gauges are sums over the worker processes that run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from leaseq.metrics.tally import Labels, Series
from leaseq.supervisor.child_process import ChildProcess
from leaseq.supervisor.heartbeat import Heartbeat
from leaseq.supervisor.protocol import boottime

# Not a sum, but the largest.
LARGEST = frozenset({"leaseq_loop_lag_seconds", "leaseq_running_oldest_seconds"})


class FleetMetrics:
    """The gauges of a supervisor and of its worker processes."""

    def __init__(self) -> None:
        self.children: dict[str, ChildProcess] = {}
        self.heartbeat: Heartbeat | None = None
        self._numbers: dict[str, int] = {}

    def pids(self) -> dict[str, int]:
        """The processes by the label `child`: this one, and the worker processes by a small number,
        which the next one has when one has ended."""
        known = {name: n for name, n in self._numbers.items() if name in self.children}
        for worker_id in self.children:
            if worker_id not in known:
                free = (n for n in range(len(known) + 1) if n not in known.values())
                known[worker_id] = next(free)
        self._numbers = known
        children = {str(known[name]): child for name, child in self.children.items()}
        return {"": os.getpid()} | {name: child.process.pid for name, child in children.items()}

    def series(self) -> Iterator[Series]:
        """The gauges as they are now."""
        found: dict[tuple[str, Labels], float] = {}
        for child in self.children.values():
            for name, labels, value in (
                (each.name, each.labels, each.value) for each in child.levels
            ):
                before = found.get((name, labels), 0.0)
                found[name, labels] = max(before, value) if name in LARGEST else before + value
        if self.heartbeat is not None and self.heartbeat.renewed_at is not None and self.children:
            age = boottime() - self.heartbeat.renewed_at
            yield Series("leaseq_heartbeat_age_seconds", (), age)
        yield Series("leaseq_children", (), len(self.children))
        for (name, labels), value in found.items():
            yield Series(name, labels, value)


__all__ = ["FleetMetrics"]
