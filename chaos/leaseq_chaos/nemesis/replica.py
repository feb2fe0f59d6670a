"""Failovers of dispatch to a promoted replica.

The address moves, while the old primary lives on.

It keeps its connections, as behind a service address whose target moves. Either it is a replica of
the new primary and answers READONLY, or it takes writes that no successor will ever see. Invariant:
the old primary ends with the heal.
"""

from __future__ import annotations

from random import Random

from leaseq_chaos.cluster.cluster import Cluster
from leaseq_chaos.cluster.stores import Valkey
from leaseq_chaos.history import boottime
from leaseq_chaos.nemesis.fault import Fault, store_must_answer
from leaseq_chaos.nemesis.nemesis import Injury
from leaseq_chaos.nemesis.valkey import running_valkey

__all__ = ["ReplaceValkey"]

COPY_SECONDS = 30.0


class ReplaceValkey(Fault):
    """The primary of dispatch is another server from now on."""

    def __init__(self, name: str, seconds: tuple[float, float], *, demoted: bool) -> None:
        super().__init__(name, seconds)
        self._demoted = demoted

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        await cluster.seal()
        pid = running_valkey(cluster)
        old, new = cluster.valkey, Valkey(cluster.next_directory("valkey"))
        try:
            async with store_must_answer("Valkey", seconds=COPY_SECONDS):
                await new.copy(old)
                since = boottime()
                await new.follow(None)
        except BaseException:
            await new.destroy()
            raise
        cluster.former.append(old)
        cluster.valkey = new
        cluster.lead("valkey", new.port)
        if self._demoted:
            async with store_must_answer("Valkey"):
                await old.follow(new)
        return Injury(
            target="valkey",
            pids=[pid],
            detail={"since": since, "old_port": old.port, "demoted": self._demoted},
        )

    async def heal(self, cluster: Cluster, injury: Injury) -> None:
        await cluster.seal()
        await cluster.valkey.ready()
