"""Arm a failpoint, detect the process that reaches it, and release that process.

The harness's side of `leaseq.failpoints`: a file that holds an action; the process that reaches the
point renames it, and adds its pid.
"""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from time import monotonic

import psutil
from msgspec import Struct

from leaseq_chaos.cluster.cluster import Cluster
from leaseq_chaos.cluster.service import Service
from leaseq_chaos.cluster.stores import send

__all__ = ["Caught", "Trap"]

POLL_SECONDS = 0.02


class Caught(Struct, frozen=True):
    """The process that reached a point. A killed one has no service any more."""

    pid: int
    service: Service | None

    @property
    def name(self) -> str:
        return f"pid {self.pid}" if self.service is None else self.service.name


class Trap:
    """One point, armed once."""

    def __init__(self, cluster: Cluster, point: str) -> None:
        assert cluster.layout.failpoints is not None, "the services were started with failpoints"
        self._cluster = cluster
        self._file: Path = cluster.layout.failpoints / point
        self._action = ""
        self._frozen: list[int] = []

    def arm(self, action: str) -> None:
        """Set it in one step, so that no process reads half an action."""
        self._action = action
        self._clear()
        fresh = self._file.with_name(f"{self._file.name}.fresh")
        fresh.write_text(action, encoding="utf-8")
        fresh.rename(self._file)

    async def caught(self, *, timeout: float) -> Caught | None:
        """The process that reached it, and stands there if that is the action; None if none does
        within `timeout` seconds."""
        until = monotonic() + timeout
        while monotonic() < until:
            for taken in self._file.parent.glob(f"{self._file.name}.reached-*"):
                pid = int(taken.name.rpartition("-")[2])
                if self._action != "stop" or _stands_still(pid):
                    return Caught(pid, self._service_of(pid))
            await asyncio.sleep(POLL_SECONDS)
        return None

    def freeze(self, caught: Caught) -> None:
        """It has stopped itself; its supervisor is to stand still with it, or that one would kill
        it for its silence."""
        supervisor = caught.service.pid if caught.service is not None else None
        for pid in (caught.pid, supervisor):
            if pid is not None:
                self._frozen.append(pid)
                send(pid, signal.SIGSTOP)

    def release(self, caught: Caught | None) -> None:
        """Release all processes, and disarm."""
        for pid in (*self._frozen, *(() if caught is None else (caught.pid,))):
            send(pid, signal.SIGCONT)
        self._frozen.clear()
        self._clear()

    def _clear(self) -> None:
        self._file.unlink(missing_ok=True)
        for taken in self._file.parent.glob(f"{self._file.name}.reached-*"):
            taken.unlink()

    def _service_of(self, pid: int) -> Service | None:
        try:
            process = psutil.Process(pid)
            family = {pid, *(parent.pid for parent in process.parents())}
        except psutil.NoSuchProcess:
            family = {pid}
        for service in self._cluster.services.values():
            if service.pid in family or pid in service.pids:
                return service
        return None


def _stands_still(pid: int) -> bool:
    """A SIGCONT that comes before its SIGSTOP would be lost. A dead process does not move,
    either."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return True
