"""Measure when each worker renewed its lease.

The times come from the deadlines in dispatch, by the clock of its server.

A deadline is a renewal plus the length of the lease, so it tells the moment exactly, however seldom
one looks (but more often than leases are renewed).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

from bench.lookout import Lookout
from bench.stage import Stage

LOOK_SECONDS = 0.05


class Heartbeats:
    """The renewals of every worker of some queues, in milliseconds of the server's clock."""

    def __init__(self, lookout: Lookout, queues: Sequence[str], *, lease_seconds: float) -> None:
        self._lookout = lookout
        self._queues = queues
        self._lease_ms = int(lease_seconds * 1_000)
        self._renewals: dict[str, list[int]] = {}
        self.stopping = False

    async def watch(self) -> None:
        """Read repeatedly until stopped (and not only until cancelled: wait_for, in which redis-py
        sends, loses a cancellation now and then before Python 3.12)."""
        while not self.stopping:
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Note what has been renewed since the last look."""
        for queue in self._queues:
            for worker_id, deadline in (await self._lookout.deadlines(queue)).items():
                self.note(worker_id, deadline - self._lease_ms)

    def note(self, worker_id: str, moment: int) -> None:
        """One renewal, which may have been seen before."""
        seen = self._renewals.setdefault(worker_id, [])
        if not seen or seen[-1] != moment:
            seen.append(moment)

    def longest_gap(self, *, since: int, until: int, dead: Collection[str]) -> int:
        """The longest time, of those that end after `since`, in which a worker that lives renewed
        nothing. Milliseconds.

        The one that has not ended `until` then counts too: a heartbeat that never comes is late as
        well.
        """
        gaps = [0]
        for worker_id, moments in self._renewals.items():
            if worker_id not in dead:
                ends = [*moments[1:], until]
                gaps += [
                    end - begin for begin, end in zip(moments, ends, strict=True) if end > since
                ]
        return max(gaps)


@asynccontextmanager
async def heartbeats(stage: Stage, queues: Sequence[str]) -> AsyncIterator[Heartbeats]:
    """Watch for as long as the block lasts."""
    found = Heartbeats(stage.lookout, queues, lease_seconds=stage.config.lease_seconds)
    async with asyncio.TaskGroup() as group:
        group.create_task(found.watch())
        try:
            yield found
        finally:
            found.stopping = True
