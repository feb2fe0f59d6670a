"""Make dispatch hand out a task twice.

Legal: a list in Redis may hold an id as often as it likes, and hold it long after its task has
ended. Copies come of lost replies and of older data that returns; here they come on purpose.
"""

from __future__ import annotations

from random import Random

from redis.asyncio import Redis

from leaseq_chaos.cluster.cluster import Cluster
from leaseq_chaos.cluster.stores import REDIS_PREFIX
from leaseq_chaos.nemesis.fault import Fault, store_must_answer
from leaseq_chaos.nemesis.nemesis import Impossible, Injury

__all__ = ["DuplicateDeliveries"]

PROCESSING = ":processing:"
AT_MOST = 50


class DuplicateDeliveries(Fault):
    """Some of what workers hold just now lies in the ready list as well."""

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        async with store_must_answer("Valkey"), cluster.valkey.client() as client:
            count = await _duplicate(client, rng)
        if not count:
            raise Impossible("no worker holds anything just now")
        return Injury(target="valkey", detail={"deliveries": count})


async def _duplicate(client: Redis, rng: Random) -> int:
    count = 0
    for held in sorted([key async for key in client.scan_iter(f"{REDIS_PREFIX}:*{PROCESSING}*")]):
        task_ids = (await client.lrange(held, 0, -1))[:AT_MOST]
        chosen = rng.sample(task_ids, (len(task_ids) + 1) // 2)
        if chosen:
            await client.rpush(held.partition(PROCESSING)[0] + ":ready", *chosen)
        count += len(chosen)
    return count
