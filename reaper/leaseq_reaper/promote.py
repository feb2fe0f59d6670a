"""How do tasks that have become due get delivered: delayed ones, retries, and those of a caller's own transaction?

One statement takes what is due by the clock of Postgres and skips what another reaper is taking, so any number may
promote at once and no task is promoted twice. The window "promoted, not pushed" is owned here while this reaper lives
(`_unsent`: pushed again before anything more is promoted, so that a lost Redis strands one batch at most), and by the
reconciler if it dies.
"""

from __future__ import annotations

from leaseq.engine.engine import Engine
from leaseq.failpoints import reach
from leaseq.model import Glimpse
from leaseq.telemetry import emit, listening
from leaseq_reaper.apart import Apart
from leaseq_reaper.redeliver import redeliver

BATCH = 500
BATCHES = 20


class Promote:
    """The duty."""

    def __init__(self, engine: Engine) -> None:
        self._ledger = engine.stores.ledger
        self._dispatcher = engine.stores.dispatcher
        self._apart = Apart(engine.stores)
        self._unsent: list[Glimpse] = []

    async def run_once(self) -> None:
        """Promote while full batches come, at most 20 of them."""
        await self._send()
        for _ in range(BATCHES):
            self._unsent = await self._ledger.promote(limit=BATCH)
            count = len(self._unsent)
            if count:
                reach("promote.committed")
            if listening("task.promoted"):
                for task in self._unsent:
                    emit("task.promoted", task_id=task.task_id, queue=task.queue, lane=task.lane)
            await self._send()
            if count < BATCH:
                break
        self._apart.complain()

    async def _send(self) -> None:
        # Pushed twice when the answer was lost: legal, the claim is a compare-and-set.
        if self._unsent:
            await redeliver(self._dispatcher, self._unsent, apart=self._apart)
            reach("promote.sent")
            self._unsent = []


__all__ = ["Promote"]
