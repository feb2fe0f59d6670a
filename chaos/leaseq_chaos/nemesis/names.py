"""A client that makes up queue names, by the hundred, and leaves work in each.

No worker serves these queues while the fault lasts, and every other queue has to recover as fast as
ever. The heal starts workers for them, and ends when they have done everything. Invariants: each
submission is in the history; the workers that were added are no part of the cluster once they have
done everything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

from leaseq_chaos.cluster.cluster import Cluster
from leaseq_chaos.history import Recorder
from leaseq_chaos.nemesis.fault import Fault
from leaseq_chaos.nemesis.fleet import retire
from leaseq_chaos.nemesis.nemesis import Impossible, Injury
from leaseq_chaos.workload.client import Client, Counts
from leaseq_chaos.workload.front import Front, open_session
from leaseq_chaos.workload.plan import Operation

__all__ = ["PREFIX", "ManyQueues"]

PREFIX = "made-up-"
CLIENTS = 8
QUEUES_PER_WORKER = 500
# A worker of theirs is small: there are hundreds of queues, and a few tasks in each.
SMALL = ("--processes", "1", "--concurrency", "4")
PATIENCE_SECONDS = 60.0
POLL_SECONDS = 0.2


class ManyQueues(Fault):
    """So many queues with new names, with so many tasks each."""

    def __init__(self, name: str, seconds: tuple[float, float], *, queues: int, tasks: int) -> None:
        super().__init__(name, seconds)
        self._queues = queues
        self._tasks = tasks

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        number = rng.getrandbits(32)
        queues = [f"{PREFIX}{number:08x}-{each}" for each in range(self._queues)]
        operations = [
            Operation(
                at=0.0,
                client=0,
                type="plain",
                payload={"n": nth},
                key=f"{queue}-{nth}",
                queue=queue,
            )
            for nth in range(self._tasks)
            for queue in queues
        ]
        counts = Counts()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
                for client in range(CLIENTS):
                    name = f"nemesis-client-{self.name}-{number:08x}-{client}"
                    group.create_task(
                        _submit(cluster, name, operations[client::CLIENTS], counts, first=client)
                    )
        except TimeoutError:
            pass  # and the history says so
        if not counts.acknowledged:
            raise Impossible("no API has acknowledged anything")
        return Injury(
            target="api",
            detail={
                "prefix": f"{PREFIX}{number:08x}-",
                "queues": queues,
                "tasks": counts.acknowledged,
            },
        )

    async def heal(self, cluster: Cluster, injury: Injury) -> None:
        queues: Sequence[str] = injury.detail.get("queues", ())
        if not queues:
            return
        parts = [
            queues[first : first + QUEUES_PER_WORKER]
            for first in range(0, len(queues), QUEUES_PER_WORKER)
        ]
        added = [
            await cluster.add("worker", arguments=["--queues", ",".join(part), *SMALL])
            for part in parts
        ]
        # Where that takes too long, they stay: nothing else would ever do this work.
        await _done(cluster, injury.detail["prefix"])
        await asyncio.gather(*(retire(cluster, service) for service in added))


async def _submit(
    cluster: Cluster, name: str, operations: Sequence[Operation], counts: Counts, *, first: int
) -> None:
    recorder = Recorder(cluster.history, name)
    try:
        async with open_session() as session:
            await Client(
                Front(session, cluster.fronts, first=first, keys=cluster.keys), recorder, counts
            ).run(operations)
    finally:
        recorder.close()


async def _done(cluster: Cluster, prefix: str) -> None:
    while True:
        ((left,),) = await cluster.postgres.fetch("count_in_queues", {"prefix": prefix})
        if not left:
            return
        await asyncio.sleep(POLL_SECONDS)
