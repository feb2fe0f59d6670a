"""Kill processes, or stop them for less or more than a lease.

Invariants: killed processes stay down until the heal, except a child, which its supervisor
replaces. A child that runs suspects alone is never a target: its death would be evidence against an
innocent task.
"""

from __future__ import annotations

import signal
from random import Random

from msgspec import Struct

from leaseq_chaos.cluster.cluster import Cluster
from leaseq_chaos.cluster.service import Child, Service
from leaseq_chaos.cluster.stores import send
from leaseq_chaos.nemesis.fault import Fault, drawn
from leaseq_chaos.nemesis.nemesis import Impossible, Injury

__all__ = [
    "FreezeChild",
    "FreezeService",
    "HangChild",
    "KillChild",
    "KillService",
    "living",
    "worker_ids",
]


class Target(Struct, frozen=True):
    """A child, and the name by which it is drawn: its worker's, and which of its children it is."""

    name: str
    worker: str
    child: Child


def living(cluster: Cluster, kind: str) -> list[Service]:
    """The services of a kind that run just now."""
    return [service for service in cluster.of(kind) if service.alive]


def worker_ids(service: Service) -> list[str]:
    """The workers that live in a service."""
    return [child.worker_id for child in service.children]


class KillService(Fault):
    """SIGKILL to one service, with its children as if the host were lost, or without."""

    def __init__(
        self, name: str, seconds: tuple[float, float], *, kind: str, children: bool
    ) -> None:
        super().__init__(name, seconds)
        self._kind = kind
        self._children = children

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        service = drawn(rng, living(cluster, self._kind), f"living {self._kind}")
        workers = worker_ids(service)
        service.hold()
        pids = service.kill(children=self._children)
        await service.ended()
        return Injury(target=service.name, pids=pids, workers=workers)

    async def heal(self, cluster: Cluster, injury: Injury) -> None:
        service = cluster.services.get(injury.target)
        if service is not None:
            service.release()
            await service.ready()


class FreezeService(Fault):
    """SIGSTOP to all of one service, and SIGCONT. Of workers only to one at work: a newborn that is
    frozen holds nothing."""

    def __init__(self, name: str, seconds: tuple[float, float], *, kind: str) -> None:
        super().__init__(name, seconds)
        self._kind = kind

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        targets = living(cluster, self._kind)
        if self._kind == "worker":
            targets = [
                service
                for service in targets
                if any(child.at_work and not child.isolated for child in service.children)
            ]
        service = drawn(rng, targets, f"living {self._kind}, and at work,")
        workers = worker_ids(service)
        pids = service.signal(signal.SIGSTOP, children=True)
        return Injury(target=service.name, pids=pids, workers=workers)

    async def heal(self, cluster: Cluster, injury: Injury) -> None:
        # The children first: a supervisor that woke alone would take them for stalled.
        for pid in reversed(injury.pids):
            send(pid, signal.SIGCONT)
        service = cluster.services.get(injury.target)
        if service is not None:
            await service.ready()


class KillChild(Fault):
    """SIGKILL to one child of a worker."""

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        return _hit(_drawn_child(cluster, rng), signal.SIGKILL)


class FreezeChild(Fault):
    """SIGSTOP to one child of a worker, whose supervisor goes on."""

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        return _hit(_drawn_child(cluster, rng), signal.SIGSTOP)

    async def heal(self, cluster: Cluster, injury: Injury) -> None:
        for pid in injury.pids:
            send(pid, signal.SIGCONT)


class HangChild(FreezeChild):
    """SIGSTOP to one child, permanently: if its supervisor does not end it, no process does for
    many leases."""

    async def heal(self, cluster: Cluster, injury: Injury) -> None:
        service = cluster.services.get(injury.target)
        for child in service.children if service is not None else ():
            if child.worker_id in injury.workers:
                send(child.pid, signal.SIGKILL)


def _drawn_child(cluster: Cluster, rng: Random) -> Target:
    targets = [
        Target(f"{worker.name}/{number}", worker.name, child)
        for worker in living(cluster, "worker")
        for number, child in enumerate(worker.children)
        if not child.isolated
    ]
    return drawn(rng, targets, "child that runs ordinary tasks")


def _hit(target: Target, number: signal.Signals) -> Injury:
    child = target.child
    if not send(child.pid, number):
        raise Impossible(f"{target.name} has just ended")
    return Injury(target=target.worker, pids=[child.pid], workers=[child.worker_id])
