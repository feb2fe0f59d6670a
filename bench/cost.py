"""Measure the CPU time of processes.

Of whole process trees, as the operating system accounts for them. A child that has ended counts
too, once its parent has waited for it. The benchmark counts only itself: its children are measured
separately. Other work of the machine is reported, too, so that nothing is hidden and one sees
whether it was quiet. (The benchmark itself is in that, where it is not named.)
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress

import psutil
from msgspec import Struct

from bench.figures import Reading

MICROSECONDS = 1e6
# As Linux tells them; other systems have fewer.
BUSY = ("user", "nice", "system", "irq", "softirq")
SERVERS = ("Postgres", "Valkey")


class Used(Struct, frozen=True):
    """Seconds of CPU. `root` is the part of the first process of a tree."""

    user: float = 0.0
    system: float = 0.0
    root: float = 0.0

    @property
    def total(self) -> float:
        return self.user + self.system

    def __add__(self, other: Used) -> Used:
        return Used(self.user + other.user, self.system + other.system, self.root + other.root)

    def __sub__(self, other: Used) -> Used:
        return Used(self.user - other.user, self.system - other.system, self.root - other.root)


class Meter:
    """Begins to count when it is made. `pids`: the roots of the trees, by name."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._before = self._read()
        self._machine_before = machine_seconds()
        self._used: dict[str, Used] = {}
        self._machine = 0.0

    def stop(self) -> None:
        """Count no further."""
        self._machine = machine_seconds() - self._machine_before
        now = self._read()
        self._used = {name: now[name] - before for name, before in self._before.items()}

    def per_task(self, prefix: str, tasks: int) -> list[Reading]:
        """Microseconds of each tree for each task."""
        return [
            _reading(f"{prefix}: CPU of {name}", used.total, tasks)
            for name, used in self._used.items()
        ]

    def shares(self, prefix: str, seconds: float) -> list[Reading]:
        """The share of one core that each tree used in so many seconds."""
        return [
            Reading(f"{prefix}: CPU of {name}", "% of a core", 100 * used.total / seconds)
            for name, used in self._used.items()
        ]

    def in_detail(self, prefix: str, tasks: int) -> list[Reading]:
        """The same, with user and system time apart, a worker's supervisor for itself, the servers
        together, and the rest."""
        servers = sum((self._used[name] for name in SERVERS), Used())
        readings = []
        for name, used in (self._used | {"both servers": servers}).items():
            about = f"{prefix}: CPU of {name}"
            readings.append(_reading(about, used.total, tasks))
            readings.append(_reading(f"{about}, user", used.user, tasks))
            readings.append(_reading(f"{about}, system", used.system, tasks))
            if name == "worker":
                readings.append(_reading(f"{about}, of that its supervisor", used.root, tasks))
        rest = max(self._machine - sum(used.total for used in self._used.values()), 0.0)
        readings.append(_reading(f"{prefix}: CPU of all other processes", rest, tasks))
        return readings

    def _read(self) -> dict[str, Used]:
        return {name: cpu_used(pid) for name, pid in self._pids.items()}


def cpu_used(pid: int) -> Used:
    """The CPU time of the process `pid` and its descendants so far."""
    root = psutil.Process(pid)
    times = root.cpu_times()
    if pid == os.getpid():
        return Used(times.user, times.system, times.user + times.system)
    total = Used(root=times.user + times.system)
    for process in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += Used(times.user + times.children_user, times.system + times.children_system)
    return total


def cpu_seconds(pid: int) -> float:
    """User and system time of the process `pid` and its descendants so far."""
    return cpu_used(pid).total


def machine_seconds() -> float:
    """The busy time of all processors together so far, for any work."""
    times = psutil.cpu_times()
    return float(sum(getattr(times, name, 0.0) for name in BUSY))


def _reading(name: str, seconds: float, tasks: int) -> Reading:
    return Reading(name, "us/task", seconds / tasks * MICROSECONDS)
