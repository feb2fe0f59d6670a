"""The interface of a nemesis.

A nemesis injects one kind of fault into a running cluster and can heal it. Invariants: all that
`inject` has begun, `heal` undoes, also when the process it concerned has died meanwhile; `heal`
after a half-failed `inject` does no harm.
"""

from __future__ import annotations

from random import Random
from typing import Any, Protocol

from msgspec import Struct, field

from leaseq_chaos.cluster.cluster import Cluster

__all__ = ["Impossible", "Injury", "Nemesis"]


class Impossible(Exception):
    """The fault cannot be injected now: no process of the kind is alive, say. This is not a
    failure."""


class Injury(Struct, frozen=True, kw_only=True):
    """One fault that was injected."""

    target: str  # a service, a store or a proxy, by its name in the cluster
    pids: list[int] = field(default_factory=list)  # of the processes that were killed or stopped
    # the workers concerned, where that is known
    workers: list[str] = field(default_factory=list)
    detail: dict[str, Any] = field(default_factory=dict)


class Nemesis(Protocol):
    """One kind of fault."""

    @property
    def name(self) -> str: ...  # as in the schedule: kill-child, flushall, freeze-postgres

    @property
    # shortest and longest time between inject and heal; (0, 0): heals immediately
    def seconds(self) -> tuple[float, float]: ...

    async def unable(self, cluster: Cluster) -> str | None:
        """Why this machine cannot do it, or None. Asked once, before the run."""
        ...

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        """Do it. Raises Impossible."""
        ...

    async def heal(self, cluster: Cluster, injury: Injury) -> None:
        """Undo it, and return when the healing is complete (a server answers, a process has
        started)."""
        ...
