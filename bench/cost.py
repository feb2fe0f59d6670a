"""How much CPU has been used, and by whom?

Of whole process trees, user and system time together. A child that has ended counts too, once its parent has waited for it.
The benchmark counts for itself alone: its children are what it measures.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress

import psutil

from bench.figures import Reading

MICROSECONDS = 1e6


class Meter:
    """Begins to count when it is made. `pids`: the roots of the trees, by name."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._before = self._read()
        self._used: dict[str, float] = {}

    def stop(self) -> None:
        """Count no further."""
        now = self._read()
        self._used = {name: now[name] - before for name, before in self._before.items()}

    def per_task(self, prefix: str, tasks: int) -> list[Reading]:
        """Microseconds of each tree for each task."""
        return [
            Reading(f"{prefix}: CPU of {name}", "us/task", seconds / tasks * MICROSECONDS) for name, seconds in self._used.items()
        ]

    def _read(self) -> dict[str, float]:
        return {name: cpu_seconds(pid) for name, pid in self._pids.items()}


def cpu_seconds(pid: int) -> float:
    """What the process `pid` and its descendants have used so far."""
    root = psutil.Process(pid)
    if pid == os.getpid():
        return sum(root.cpu_times()[:2])
    total = 0.0
    for process in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:4])  # user, system, and both of its children that have ended
    return total
