"""Kill a worker in the first moments of its life, when it holds tasks."""

from __future__ import annotations

import asyncio
from random import Random

from leaseq_chaos.cluster.cluster import Cluster
from leaseq_chaos.nemesis.fault import drawn
from leaseq_chaos.nemesis.nemesis import Injury
from leaseq_chaos.nemesis.processes import KillService, living, worker_ids

__all__ = ["KillNewborn"]

AGE_SECONDS = 0.3  # at most


class KillNewborn(KillService):
    """SIGKILL to a whole worker, and again to the next one as soon as its first child can work."""

    def __init__(self, name: str, seconds: tuple[float, float]) -> None:
        super().__init__(name, seconds, kind="worker", children=True)

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        service = drawn(rng, living(cluster, "worker"), "living worker")
        service.kill(children=True)
        await service.ended()
        await service.ready()
        await asyncio.sleep(rng.uniform(0, AGE_SECONDS))
        workers = worker_ids(service)
        service.hold()
        pids = service.kill(children=True)
        await service.ended()
        return Injury(target=service.name, pids=pids, workers=workers)
