"""Fill the disk of a store.

Only a small disk that the run has mounted for the purpose is filled, never any other. Invariant:
the heal makes room first, and then starts the store if it has died of it.
"""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path
from random import Random

from leaseq_chaos.cluster.cluster import Cluster
from leaseq_chaos.nemesis.fault import Fault
from leaseq_chaos.nemesis.nemesis import Impossible, Injury
from leaseq_chaos.nemesis.revive import revive

__all__ = ["FillDisk"]

BALLAST = "ballast"


class FillDisk(Fault):
    """No byte is left on the disk of one store."""

    def __init__(self, name: str, seconds: tuple[float, float], *, store: str) -> None:
        super().__init__(name, seconds)
        self._store = store

    async def unable(self, cluster: Cluster) -> str | None:
        return None if self._store in cluster.disks else cluster.no_disks

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        filled = await asyncio.to_thread(_fill, cluster.disks[self._store] / BALLAST)
        return Injury(target=self._store, detail={"bytes": filled})

    async def heal(self, cluster: Cluster, injury: Injury) -> None:
        (cluster.disks[self._store] / BALLAST).unlink(missing_ok=True)
        await revive(cluster.postgres if self._store == "postgres" else cluster.valkey)


def _fill(ballast: Path) -> int:
    """Take all free space, repeatedly, since other processes free and take space meanwhile. Returns
    the amount."""
    try:
        fd = os.open(ballast, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise Impossible("the disk is full already") from None
    try:
        size, share = 0, 1
        while more := _free(ballast) // share:
            try:
                os.posix_fallocate(fd, size, more)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                share *= 2  # another process has just taken some of it
            else:
                size += more
    finally:
        os.close(fd)
    return size


def _free(path: Path) -> int:
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize
