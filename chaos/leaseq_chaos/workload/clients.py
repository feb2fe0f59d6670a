"""Run all clients of a plan, and wait for their end.

Invariant: each client has a history of its own, in which nothing overlaps.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from leaseq_chaos.history import Recorder
from leaseq_chaos.scenario import Bounded
from leaseq_chaos.workload.bounds import BoundsClient
from leaseq_chaos.workload.bulk import BulkClient
from leaseq_chaos.workload.client import Client, Counts
from leaseq_chaos.workload.front import Front, open_session
from leaseq_chaos.workload.plan import Operation

__all__ = ["Clients"]


class Clients:
    """The clients of one run. `counts` tells how far they are."""

    def __init__(
        self,
        urls: list[str],
        *,
        history: Path,
        keys: Mapping[str, str],
        bulk_seed: int | None = None,
        bounds: Bounded | None = None,
        seed: int = 0,
    ) -> None:
        """`bulk_seed`: of the operator of many tasks, `bounds`: of that of limits and schedules.
        None: there is none."""
        self._bounds = bounds
        self._seed = seed
        self._bounding: BoundsClient | None = None
        self._urls = urls
        self._keys = keys
        self._history = history
        self._bulk_seed = bulk_seed
        self.counts = Counts()

    async def start(self, plan: Iterable[Operation]) -> None:
        """Begin with the plan, and return immediately."""
        shares: defaultdict[int, list[Operation]] = defaultdict(list)
        for operation in plan:
            shares[operation.client].append(operation)
        self._session = open_session()
        self._recorders = {
            number: Recorder(self._history, f"client-{number}") for number in sorted(shares)
        }
        self._working = [
            asyncio.create_task(self._client(number, recorder).run(shares[number]))
            for number, recorder in self._recorders.items()
        ]
        if self._bulk_seed is not None:
            self._working.append(asyncio.create_task(self._bulk(self._bulk_seed).run()))
        if self._bounds is not None:
            front = Front(self._session, self._urls, first=0, keys=self._keys)
            self._bounding = BoundsClient(
                front,
                schedules=self._bounds.schedules,
                changes=self._bounds.changes,
                seed=self._seed,
            )
            self._working.append(asyncio.create_task(self._bounding.run()))

    async def finish(self, *, patience: float) -> bool:
        """Wait until the plan is done, everything was answered, and all followed tasks have ended;
        at most `patience` seconds, then break off. Was everything done? Raises what went wrong in a
        client."""
        if self._bounding is not None:
            self._bounding.stop.set()
        done, open_ones = (
            await asyncio.wait(self._working, timeout=patience) if self._working else (set(), set())
        )
        for task in open_ones:
            task.cancel()
        if open_ones:
            await asyncio.wait(open_ones)
        for recorder in self._recorders.values():
            recorder.close()
        await self._session.close()
        for task in done:
            task.result()
        return not open_ones

    def _bulk(self, seed: int) -> BulkClient:
        recorder = Recorder(self._history, "bulk")
        self._recorders[-1] = recorder
        front = Front(self._session, self._urls, first=0, keys=self._keys)
        return BulkClient(front, recorder, seed=seed)

    def _client(self, number: int, recorder: Recorder) -> Client:
        return Client(
            Front(self._session, self._urls, first=number, keys=self._keys), recorder, self.counts
        )
