"""Combine two faults, since most outages are two.

Invariant: if the second half cannot be done, the first is healed immediately.
"""

from __future__ import annotations

import asyncio
import signal
from random import Random

import msgspec

from leaseq_chaos.cluster.cluster import Cluster
from leaseq_chaos.cluster.stores import send
from leaseq_chaos.nemesis.clocks import ClockOfService
from leaseq_chaos.nemesis.fault import Fault, drawn
from leaseq_chaos.nemesis.nemesis import Impossible, Injury, Nemesis
from leaseq_chaos.nemesis.processes import KillService, living, worker_ids

__all__ = ["ClockAndKill", "KillReapingSupervisor", "PauseAndKill", "Together"]

PAUSE_LEASES = (0.2, 0.8)
BEATEN_LEASES = (0.8, 1.5)  # for so long it beats with the wrong clock
SLOW_SECONDS = 0.2  # each step towards Valkey, and as much back
REAPING_SECONDS = (0.5, 3.0)  # from the death of the child to that of its supervisor


class Together(Fault):
    """Two faults, one right after the other, healed in reverse."""

    def __init__(
        self, name: str, seconds: tuple[float, float], *, first: Nemesis, second: Nemesis
    ) -> None:
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
    """A worker that is stopped for a part of a lease and then killed: its host was swapping before
    it died."""

    def __init__(self, name: str, seconds: tuple[float, float]) -> None:
        super().__init__(name, seconds, kind="worker", children=True)

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        service = drawn(rng, living(cluster, "worker"), "living worker")
        workers = worker_ids(service)
        pids = service.signal(signal.SIGSTOP, children=True)
        await asyncio.sleep(cluster.lease_seconds * rng.uniform(*PAUSE_LEASES))
        service.hold()
        service.kill(children=True)
        await service.ended()
        return Injury(target=service.name, pids=pids, workers=workers)


class KillReapingSupervisor(KillService):
    """A child dies, and then its supervisor in the middle of taking back its tasks, which a slow
    way to Valkey draws out."""

    def __init__(self, name: str, seconds: tuple[float, float]) -> None:
        super().__init__(name, seconds, kind="worker", children=True)

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        service = drawn(rng, living(cluster, "worker"), "living worker")
        ordinary = [child for child in service.children if not child.isolated]
        if not ordinary:
            raise Impossible(f"{service.name} has no child just now")
        workers = worker_ids(service)
        (way,) = cluster.links("valkey", service)
        before, way.delay_seconds = way.delay_seconds, SLOW_SECONDS
        try:
            send(rng.choice(ordinary).pid, signal.SIGKILL)
            await asyncio.sleep(rng.uniform(*REAPING_SECONDS))
            service.hold()
            pids = service.kill(children=True)
            await service.ended()
        finally:
            way.delay_seconds = before
        return Injury(target=service.name, pids=pids, workers=workers)


class ClockAndKill(ClockOfService):
    """The clock of a worker's host jumps, and a moment later the host is lost."""

    def __init__(self, name: str, seconds: tuple[float, float]) -> None:
        super().__init__(name, seconds, kind="worker")

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        injury = await super().inject(cluster, rng)
        await asyncio.sleep(cluster.lease_seconds * rng.uniform(*BEATEN_LEASES))
        service = cluster.services.get(injury.target)
        if service is not None:
            service.hold()
            service.kill(children=True)
            await service.ended()
        return injury

    async def heal(self, cluster: Cluster, injury: Injury) -> None:
        service = cluster.services.get(injury.target)
        if service is not None:
            service.release()
        await super().heal(cluster, injury)
