"""Pause a queue, and resume it.

In the ledger only, as by an API that died before its write to dispatch: the reconciler repairs the
copy there. Invariant: a queue whose pause may have succeeded is resumed, regardless of the answer.
"""

from __future__ import annotations

import asyncio
from random import Random

from leaseq_chaos.cluster.cluster import Cluster
from leaseq_chaos.nemesis.fault import Fault, store_must_answer
from leaseq_chaos.nemesis.nemesis import Impossible, Injury

__all__ = ["PauseQueue"]

QUEUES = ("default", "side")
# Longer than Postgres is ever frozen: a statement that was given up could take effect when it
# thaws, after its undoing.
PATIENCE_SECONDS = 20.0
RETRY_SECONDS = 0.2


class PauseQueue(Fault):
    """One queue is paused."""

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        queue = rng.choice(QUEUES)
        try:
            async with cluster.moving, store_must_answer("Postgres", seconds=PATIENCE_SECONDS):
                known = await cluster.postgres.fetch(
                    "pause_queue", {"queue": queue, "paused": True}
                )
        except Impossible:
            await _resume(cluster, queue)
            raise
        if not known:
            raise Impossible(f"queue {queue} is not known yet")
        return Injury(target=queue)

    async def heal(self, cluster: Cluster, injury: Injury) -> None:
        await _resume(cluster, injury.target)


async def _resume(cluster: Cluster, queue: str) -> None:
    """As soon as Postgres can."""
    while True:
        try:
            async with cluster.moving, store_must_answer("Postgres", seconds=PATIENCE_SECONDS):
                await cluster.postgres.fetch("pause_queue", {"queue": queue, "paused": False})
            return
        except Impossible:
            await asyncio.sleep(RETRY_SECONDS)
