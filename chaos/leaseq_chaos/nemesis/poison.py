"""Submit a task that kills the worker that runs it.

Through the API, as a client would, under a key of its own; there is nothing to heal. Invariant: the
submission is in the history like every client's, with its answer or without one.
"""

from __future__ import annotations

import asyncio
from random import Random

from leaseq_chaos.cluster.cluster import Cluster
from leaseq_chaos.history import Recorder
from leaseq_chaos.nemesis.fault import Fault
from leaseq_chaos.nemesis.nemesis import Impossible, Injury
from leaseq_chaos.workload.client import Client, Counts
from leaseq_chaos.workload.front import Front, open_session
from leaseq_chaos.workload.payloads import PAYLOADS, Draw
from leaseq_chaos.workload.plan import Operation

__all__ = ["Poison"]

PATIENCE_SECONDS = 10.0


class Poison(Fault):
    """One submission of one task type."""

    def __init__(self, task_type: str) -> None:
        super().__init__(f"poison-{task_type}")
        self._type = task_type

    async def inject(self, cluster: Cluster, rng: Random) -> Injury:
        number = rng.getrandbits(32)
        key = f"{self.name}-f-{number:08x}"
        payload = PAYLOADS[self._type](Draw(rng, number, 1))
        operation = Operation(at=0.0, client=0, type=self._type, payload=payload, key=key)
        # A history of its own: another dose may be under way at the same time.
        recorder = Recorder(cluster.history, f"nemesis-client-{self._type}-{number:08x}")
        counts = Counts()
        try:
            async with open_session() as session, asyncio.timeout(PATIENCE_SECONDS):
                await Client(
                    Front(session, cluster.fronts, first=number, keys=cluster.keys),
                    recorder,
                    counts,
                ).run([operation])
        except TimeoutError:
            pass  # and the history says so
        finally:
            recorder.close()
        if not counts.acknowledged:
            raise Impossible("no API has acknowledged it")
        return Injury(target="api", detail={"key": key, "type": self._type})
