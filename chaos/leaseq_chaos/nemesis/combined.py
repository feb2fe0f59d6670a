"""What if one thing comes on top of another? Most outages are two.

Invariant: where the second half cannot be done, the first is healed at once.
"""

from __future__ import annotations

import asyncio
import signal
from random import Random

import msgspec

from leaseq_chaos.cluster.cluster import Cluster
from leaseq_chaos.nemesis.fault import Fault, drawn
from leaseq_chaos.nemesis.nemesis import Injury, Nemesis
from leaseq_chaos.nemesis.processes import KillService, incarnations, living

__all__ = ["PauseAndKill", "Together"]

PAUSE_LEASES = (0.2, 0.8)


class Together(Fault):
    """Two faults, one right after the other, healed in reverse."""

    def __init__(self, name: str, seconds: tuple[float, float], *, first: Nemesis, second: Nemesis) -> None:
        super().__init__(name, seconds)
        self._parts = {"first": first, "second": second}

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        first = await self._parts["first"].inject(cluster, rng)
        try:
            second = await self._parts["second"].inject(cluster, rng)
        except BaseException:
            await self._parts["first"].heal(cluster, first)
            raise
        return Injury(
            target=f"{first.target} and {second.target}",
            pids=first.pids + second.pids,
            workers=first.workers + second.workers,
            detail={"first": msgspec.to_builtins(first), "second": msgspec.to_builtins(second)},
        )

    async def heal(self, cluster: Cluster, injury: Injury) -> None:
        for part in ("second", "first"):
            if part in injury.detail:
                await self._parts[part].heal(cluster, msgspec.convert(injury.detail[part], Injury))


class PauseAndKill(KillService):
    """A worker that is stopped for a part of a lease and then killed: its host was swapping before it died."""

    def __init__(self, name: str, seconds: tuple[float, float]) -> None:
        super().__init__(name, seconds, kind="worker", children=True)

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        service = drawn(rng, living(cluster, "worker"), "living worker")
        workers = incarnations(service)
        pids = service.signal(signal.SIGSTOP, children=True)
        await asyncio.sleep(cluster.lease_seconds * rng.uniform(*PAUSE_LEASES))
        service.hold()
        service.kill(children=True)
        await service.ended()
        return Injury(target=service.name, pids=pids, workers=workers)
