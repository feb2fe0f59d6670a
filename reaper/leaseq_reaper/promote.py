"""How do tasks that have become due get delivered: delayed ones, retries, and those of a caller's own transaction?

Queue by queue and lane by lane, a batch of each in turn, so that a million that are due in one lane hold up no other; and no more
of a lane than it has room for: what finds none stays SCHEDULED, and is looked at again in the next pass. It has
precedence over the backlog of its lane (refill.py), since it was submitted earlier: later ones are refused by the push and
become part of that backlog.

One statement takes what is due by the clock of Postgres and skips what another reaper is taking, so any number may
promote at once and no task is promoted twice. The window "promoted, not pushed" is owned here while this reaper lives
(`_unsent`: pushed again before anything more is promoted, so that a Redis that is lost or full strands one batch at most, and
a lane that cannot be written to little more than one of its queue), and by the reconciler if it dies.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from leaseq.engine.engine import Engine
from leaseq.failpoints import reach
from leaseq.ledger.ledger import Due
from leaseq.lifecycle import LANES
from leaseq.model import Glimpse, Priority
from leaseq.telemetry import emit, listening
from leaseq_reaper.apart import Apart
from leaseq_reaper.redeliver import redeliver
from leaseq_reaper.suspicion import Clock

BATCH = 1000
# A pass that promotes for longer than this leaves the rest to the next.
PASS_SECONDS = 1.0
# Written by a process of an older version: it may be of any queue.
UNKNOWN = ""


class Promote:
    """The duty."""

    def __init__(self, engine: Engine, *, clock: Clock = time.monotonic) -> None:
        self._ledger = engine.stores.ledger
        self._dispatcher = engine.stores.dispatcher
        self._survey = engine.stores.survey
        self._apart = Apart(engine.stores)
        self._clock = clock
        self._unsent: list[Glimpse] = []

    async def run_once(self) -> None:
        """Promote what is due, as far as there is room for it."""
        until = self._clock() + PASS_SECONDS
        await self._send()
        due: Sequence[Due] = await self._ledger.find_due()
        while due and self._clock() < until:
            due = await self._round(due)
        self._apart.complain()

    async def _round(self, due: Sequence[Due]) -> list[Due]:
        """A batch of each; returns where more may be due."""
        more: list[Due] = []

        async def promote(place: Due) -> None:
            if sum(place.queue in (task.queue, UNKNOWN) for task in self._unsent) >= BATCH:
                return
            limit = min(BATCH, await self._room(place))
            if limit < 1:
                return
            promoted, rest = await self._ledger.promote(place, limit=limit)
            self._unsent = [*self._unsent, *promoted]
            await self._tell_and_send(promoted)
            if len(promoted) == limit:
                more.append(rest)

        await self._apart.each(due, promote)
        return more

    async def _room(self, place: Due) -> int:
        if place.queue == UNKNOWN:
            return BATCH
        return self._dispatcher.window - await self._survey.length(place.queue, LANES[Priority(place.priority)])

    async def _tell_and_send(self, promoted: Sequence[Glimpse]) -> None:
        if promoted:
            reach("promote.committed")
        if listening("task.promoted"):
            for task in promoted:
                emit("task.promoted", task_id=task.task_id, queue=task.queue, lane=task.lane)
        await self._send()

    async def _send(self) -> None:
        # Pushed twice when the answer was lost: legal, the claim is a compare-and-set.
        if self._unsent:
            self._unsent = (await redeliver(self._dispatcher, self._unsent, apart=self._apart)).failed
            reach("promote.sent")


__all__ = ["Promote"]
