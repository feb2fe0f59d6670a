"""Deploy, scale and mix versions in the middle of the work.

Invariant: services that were added for a while are ended gracefully afterwards, and leave the
cluster.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from random import Random

from leaseq_chaos.cluster.cluster import Cluster
from leaseq_chaos.cluster.service import Service
from leaseq_chaos.nemesis.fault import Fault
from leaseq_chaos.nemesis.nemesis import Impossible, Injury
from leaseq_chaos.nemesis.processes import living, worker_ids

__all__ = ["MixedVersions", "MoreReapers", "RollingRestart", "retire"]

MOST_MORE_REAPERS = 6


class RollingRestart(Fault):
    """SIGTERM to each worker in its turn, under load; the next one when the new one is ready."""

    def __init__(self, name: str, seconds: tuple[float, float]) -> None:
        super().__init__(name, seconds)
        self._rolling: set[asyncio.Task[None]] = set()

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        fleet = living(cluster, "worker")
        if not fleet:
            raise Impossible("there is no living worker just now")
        self._rolling.add(asyncio.create_task(_roll(fleet)))
        pids = [pid for service in fleet for pid in service.pids]
        return Injury(
            target="workers",
            pids=pids,
            workers=[each for service in fleet for each in worker_ids(service)],
        )

    async def heal(self, cluster: Cluster, injury: Injury) -> None:
        while self._rolling:
            await self._rolling.pop()


class MoreReapers(Fault):
    """One to six more reapers together, for a while."""

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        number = rng.randint(1, MOST_MORE_REAPERS)
        added = [await cluster.add("reaper") for _ in range(number)]
        return _addition("reapers", added)

    async def heal(self, cluster: Cluster, injury: Injury) -> None:
        await _take_away(cluster, injury)


class MixedVersions(Fault):
    """A worker and a reaper of another version beside ours."""

    async def unable(self, cluster: Cluster) -> str | None:
        return (
            None if cluster.layout.other_tree is not None else "no other version was given (--old)"
        )

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        added = [
            await cluster.add(kind, tree=cluster.layout.other_tree) for kind in ("worker", "reaper")
        ]
        return _addition("fleet", added)

    async def heal(self, cluster: Cluster, injury: Injury) -> None:
        await _take_away(cluster, injury)


async def _roll(fleet: Sequence[Service]) -> None:
    for service in fleet:
        if service.alive:  # otherwise another fault was quicker
            await service.restart()


def _addition(target: str, added: Sequence[Service]) -> Injury:
    pids = [pid for service in added for pid in service.pids]
    return Injury(target=target, pids=pids, detail={"added": [service.name for service in added]})


async def _take_away(cluster: Cluster, injury: Injury) -> None:
    added = [
        cluster.services[name]
        for name in injury.detail.get("added", [])
        if name in cluster.services
    ]
    await asyncio.gather(*(retire(cluster, service) for service in added))


async def retire(cluster: Cluster, service: Service) -> None:
    """End a service gracefully, and take it out of the cluster."""
    service.hold()
    service.signal(signal.SIGTERM)
    try:
        await service.ended()
    except TimeoutError:
        service.kill(children=True)
        await service.ended()
    await cluster.remove(service)
