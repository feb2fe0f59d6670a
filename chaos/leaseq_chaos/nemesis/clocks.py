"""Set the clock of one process wrong.

The process is restarted with libfaketime in it, and then its clock on the wall jumps by an hour, or
begins to run at twice the speed, while its monotonic clocks go on as they were, as they do on a
real machine. Invariants: until the jump the clock is right; the heal starts the process without all
this, and leaves nothing of libfaketime's behind.
"""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from random import Random

import psutil

from leaseq.embedded import ValkeyServer
from leaseq_chaos.cluster.cluster import Cluster
from leaseq_chaos.nemesis.fault import Fault, drawn
from leaseq_chaos.nemesis.nemesis import Injury
from leaseq_chaos.nemesis.processes import living, worker_ids
from leaseq_chaos.nemesis.valkey import running_valkey

__all__ = ["DAYS", "ClockOfService", "ClockOfValkey"]

LIBRARIES = (
    "usr/lib/*/faketime",
    "usr/lib/faketime",
    "usr/lib64/faketime",
    "usr/local/lib/faketime",
)
BEGAN = "began"  # a file as old as the folder
RIGHT = "+0"
JUMPS = ("-1h", "+0 x2", "+1h")
DAYS = ("-1d", "+1d")
SHARED = Path("/dev/shm")
SHARED_NAMES = ("faketime_shm_", "sem.faketime_sem_")


class Clock(Fault):
    """The common part: a folder with the file that holds the time."""

    async def unable(self, cluster: Cluster) -> str | None:
        return None if _library() is not None else "libfaketime is not installed"

    @staticmethod
    def _folder() -> Path:
        folder = Path(tempfile.mkdtemp(prefix="leaseq-chaos-clock-"))
        (folder / BEGAN).touch()
        _set(folder, RIGHT)
        return folder

    @staticmethod
    def _jump(folder: Path, rng: Random, jumps: Sequence[str] = JUMPS) -> dict[str, str]:
        jump = rng.choice(jumps)
        _set(folder, jump)
        return {"jump": jump, "folder": str(folder)}


class ClockOfService(Clock):
    """The clock of a worker, of a reaper, or of an API: it makes the ids of tasks, so that it is a
    client with a wrong clock."""

    def __init__(
        self, name: str, seconds: tuple[float, float], *, kind: str, jumps: Sequence[str] = JUMPS
    ) -> None:
        super().__init__(name, seconds)
        self._kind = kind
        self._jumps = jumps

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        service = drawn(
            rng,
            [each for each in living(cluster, self._kind) if not each.extra_env],
            f"living {self._kind}",
        )
        folder = self._folder()
        path = [
            str(files("leaseq_chaos") / "nemesis" / "faked"),
            service.command.env.get("PYTHONPATH", ""),
        ]
        service.extra_env = faketime(folder) | {"PYTHONPATH": os.pathsep.join(filter(None, path))}
        try:
            await service.restart()
        except BaseException:
            service.extra_env = {}
            _clean(folder)
            raise
        detail = self._jump(folder, rng, self._jumps)
        return Injury(
            target=service.name, pids=service.pids, workers=worker_ids(service), detail=detail
        )

    async def heal(self, cluster: Cluster, injury: Injury) -> None:
        service = cluster.services.get(injury.target)
        if service is not None and service.extra_env:
            service.extra_env = {}
            await service.restart()
        if "folder" in injury.detail:
            _clean(Path(injury.detail["folder"]))


class ClockOfValkey(Clock):
    """The clock of dispatch, by which leases are judged."""

    def __init__(self, name: str, seconds: tuple[float, float]) -> None:
        super().__init__(name, seconds)
        self._faked: list[Path] = []  # the folder, while the clock is not its own

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        program = psutil.Process(running_valkey(cluster)).exe()
        folder = self._folder()
        # A server is started with an environment of its own, so the program has to bring what it
        # needs.
        wrapped = folder / "valkey-server"
        wrapped.write_text(_wrapper(program, faketime(folder)), encoding="utf-8")
        wrapped.chmod(0o700)
        self._faked.append(folder)
        await _serve_with(cluster, wrapped)
        return Injury(
            target="valkey", pids=[running_valkey(cluster)], detail=self._jump(folder, rng)
        )

    async def heal(self, cluster: Cluster, injury: Injury) -> None:
        if self._faked:
            await _serve_with(cluster, None)
            _clean(self._faked.pop())


def faketime(folder: Path) -> dict[str, str]:
    """The environment in which the clock follows the file in `folder`, which is read once a
    second."""
    return {
        "LD_PRELOAD": str(_library()),
        "FAKETIME_TIMESTAMP_FILE": str(folder / "clock"),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def _library() -> Path | None:
    found = (path for place in LIBRARIES for path in Path("/").glob(f"{place}/libfaketime.so.1"))
    return next(found, None)


def _wrapper(program: str, env: dict[str, str]) -> str:
    told = " ".join(f"{name}={shlex.quote(value)}" for name, value in env.items())
    return f'#!/bin/sh\nexec env {told} {shlex.quote(program)} "$@"\n'


async def _serve_with(cluster: Cluster, program: Path | None) -> None:
    """Restart Valkey, gracefully, with another program; None: the usual one."""
    valkey = cluster.valkey
    await valkey.stop()
    valkey.server = ValkeyServer(valkey.directory, valkey.port, binary=program)
    await valkey.start()


def _set(folder: Path, clock: str) -> None:
    """In one step: half a time would be no time."""
    fresh = folder / "clock.new"
    fresh.write_text(f"{clock}\n", encoding="utf-8")
    fresh.rename(folder / "clock")


def _clean(folder: Path) -> None:
    """Delete the folder, and what libfaketime shared between processes that were killed since it
    was made."""
    if folder.exists():
        began = (folder / BEGAN).stat().st_mtime
        for file, pid in _shared():
            if (
                not psutil.pid_exists(pid)
                and file.stat().st_uid == os.geteuid()
                and file.stat().st_mtime >= began
            ):
                file.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def _shared() -> Iterator[tuple[Path, int]]:
    for name in SHARED_NAMES:
        for file in SHARED.glob(f"{name}*"):
            number = file.name.removeprefix(name)
            if number.isdigit():
                yield file, int(number)
