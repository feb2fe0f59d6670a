"""Forget queues that have no tasks and no workers.

Any client can make up a queue name, so names must not stay forever. A queue is forgotten, in the
ledger and in dispatch, when no task of any state names it (the last one is past its retention), no
open worker serves it, and it is not paused.

No index names the queues of tasks, so a scan goes along the primary key, in chunks, for a share of
each pass, and goes on where the last pass has ended. Names that were listed before the scan began,
and that it does not meet, are unused. A scan ends in a later pass than it began: a name that was
made a moment ago is left alone for at least one pass.

Invariants:
- Dispatch comes first. A reaper that dies between the two leaves the name, and the next scan begins
  again.
- Nothing that waits is removed in dispatch (forget.lua).
- The name of a task may be missing in the ledger for a while. That is harmless, because nothing but
  lists of queues reads it, and the next submission makes it again. A scan inserts every name that
  it meets and that is not known, and a scan that has forgotten something is followed by another
  one.
"""

from __future__ import annotations

import asyncio
import time

from leaseq.codec import FIRST_ID
from leaseq.observability.telemetry import emit
from leaseq.operations.stores import Stores
from leaseq_reaper.duties.suspicion import Clock

CHUNK = 5000
BATCH = 500
# Of the time between two passes.
SHARE = 0.25
# A scan that took t seconds is followed by the next one after so many times that: ten million tasks
# are not read all the time.
REST = 20
PAUSE_CAP_SECONDS = 1.0
SHOWN = 20


class UnusedQueues:
    """One part of the duty to prune."""

    def __init__(
        self, stores: Stores, *, interval_seconds: float, clock: Clock = time.monotonic
    ) -> None:
        self._maintenance = stores.maintenance
        self._queues = stores.queues
        self._dispatcher = stores.dispatcher
        self._seconds = SHARE * interval_seconds
        self._clock = clock
        self._cursor: str | None = None  # None: no scan is under way
        self._known: set[str] = set()
        self._unserved: set[str] = set()
        self._met: set[str] = set()
        self._look_again = False
        self._took = 0.0
        self._rested_at = clock()

    async def run_once(self) -> int:
        """Scan on for a while; at the end of a scan forget what it has not met. Returns how many
        queues were forgotten."""
        if self._cursor is None:
            if self._clock() >= self._rested_at and await self._begin():
                await self._scan()
            return 0
        if await self._scan():
            return await self._end()
        return 0

    async def _begin(self) -> bool:
        """List the known names. False if nothing could be forgotten."""
        found = await self._queues.survey_queues()
        self._known = {name for name, _ in found}
        self._unserved = {name for name, unserved in found if unserved}
        self._met, self._took = set(), 0.0
        if not self._unserved and not self._look_again:
            return False
        self._cursor = FIRST_ID
        return True

    async def _scan(self) -> bool:
        """Go on for a share of the time. True at the end of the ledger."""
        assert self._cursor is not None
        until = self._clock() + self._seconds
        while True:
            began = self._clock()
            last_id, names = await self._queues.find_queues(after=self._cursor, limit=CHUNK)
            self._met.update(names)
            took = self._clock() - began
            self._took += took
            if last_id is None:
                return True
            self._cursor = last_id
            if self._clock() >= until:
                return False
            await asyncio.sleep(min(took, PAUSE_CAP_SECONDS))

    async def _end(self) -> int:
        unused = sorted(self._unserved - self._met)
        forgotten: list[str] = []
        for start in range(0, len(unused), BATCH):
            empty = await self._dispatcher.forget(unused[start : start + BATCH])
            if empty:
                forgotten += await self._queues.forget_queues(empty)
        unlisted = sorted(self._met - self._known)
        if unlisted:
            await self._queues.register_queues(unlisted)
        if forgotten:
            emit("queue.forgotten", count=len(forgotten), queues=sorted(forgotten)[:SHOWN])
        self._cursor = None
        self._look_again = bool(forgotten)
        self._rested_at = self._clock() + REST * self._took
        return len(forgotten)


__all__ = ["UnusedQueues"]
