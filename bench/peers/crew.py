"""The worker processes of a contender: start, CPU time, and kill.

Each is started in a separate session, and a kill takes a whole worker: the process, its
descendants, and all other processes in its session (a child whose parent has already gone).
Invariant: only processes that were started here are ever signalled.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
from msgspec import Struct

from bench.cost import cpu_seconds
from bench.processes import ROOT


class Kill(Struct, frozen=True):
    """One whole worker was killed: when, by the monotonic clock, and which processes it had."""

    at_ns: int
    pids: frozenset[int]


class Crew:
    """The worker processes of one contender, each in its place, and what runs beside them."""

    def __init__(self, directory: Path, env: Mapping[str, str]) -> None:
        self._directory = directory
        self._env = dict(env)
        self._workers: dict[int, subprocess.Popen[bytes]] = {}
        self._companions: list[subprocess.Popen[bytes]] = []
        self._started = 0

    def start(self, place: int, command: Sequence[str]) -> None:
        """Start a worker in a place where none runs."""
        self._workers[place] = self._launch("worker", command, BENCH_PLACE=str(place))

    def start_companion(self, command: Sequence[str]) -> None:
        """Start a process that is not a worker, and that is killed only at the end."""
        self._companions.append(self._launch("companion", command))

    def alive(self, place: int) -> bool:
        """Does a worker run in this place?"""
        return self._workers[place].poll() is None

    @property
    def any_alive(self) -> bool:
        return any(self.alive(place) for place in self._workers)

    def cpu_seconds(self) -> dict[str, float]:
        """User and system time of the workers, and of the processes beside them if there are
        any."""
        used = {"workers alone": _cpu_seconds(self._workers.values())}
        if self._companions:
            used["reaper"] = _cpu_seconds(self._companions)
        return used

    def kill(self, place: int) -> Kill:
        """SIGKILL to one worker and everything of it, as when its container is lost. Its place is
        empty then."""
        return _kill(self._workers.pop(place))

    def kill_all(self) -> None:
        """At the end."""
        for process in (*self._workers.values(), *self._companions):
            _kill(process)

    def last_words(self) -> str:
        """The last line that the youngest worker wrote."""
        logs = sorted(self._directory.glob("*-worker.log"))
        lines = [
            line
            for log in logs
            for line in log.read_text(encoding="utf-8", errors="replace").splitlines()
            if line.strip()
        ]
        return lines[-1] if lines else "nothing"

    def _launch(self, name: str, command: Sequence[str], **env: str) -> subprocess.Popen[bytes]:
        self._started += 1
        with (self._directory / f"{self._started:03d}-{name}.log").open("wb") as words:
            return subprocess.Popen(
                command,
                cwd=ROOT,
                env=self._env | env,
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def _cpu_seconds(processes: Iterable[subprocess.Popen[bytes]]) -> float:
    return sum(cpu_seconds(process.pid) for process in processes if process.poll() is None)


def _kill(root: subprocess.Popen[bytes]) -> Kill:
    """Repeat until no process is found: a child may have been born while the first were dying."""
    pids: set[int] = set()
    found = _members(root)
    at_ns = time.monotonic_ns()
    while found:
        for pid in sorted(found, key=lambda pid: pid != root.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        pids |= found
        found = _members(root) - pids
    root.wait()
    return Kill(at_ns, frozenset(pids))


def _members(root: subprocess.Popen[bytes]) -> set[int]:
    """The processes of a worker. After its death, only those that are still in its session."""
    found: set[int] = set()
    if root.poll() is None:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(root.pid)
            found = {root.pid, *(child.pid for child in process.children(recursive=True))}
    for pid in psutil.pids():
        with suppress(ProcessLookupError, PermissionError):
            if os.getsid(pid) == root.pid:
                found.add(pid)
    return found
