"""Find requests to cancel the tasks that run here, and interrupt their attempts."""

from __future__ import annotations

import asyncio

from leaseq.ledger.tasks import TaskLedger
from leaseq.loop import run_forever
from leaseq.worker.attempt.outages import Outages
from leaseq.worker.attempt.outcome import Stop
from leaseq.worker.running_attempts import RunningAttempts

CANCEL_WATCH_SECONDS = 1.0


class CancelWatch:
    """Watches the requests for one worker."""

    def __init__(self, ledger: TaskLedger, attempts: RunningAttempts, outages: Outages) -> None:
        self._ledger = ledger
        self._attempts = attempts
        self._outages = outages

    async def run(self, stop: asyncio.Event) -> None:
        """Look until `stop` is set."""
        await run_forever(
            self.run_once, name="cancel", interval_seconds=CANCEL_WATCH_SECONDS, stop=stop
        )

    async def run_once(self) -> None:
        """Look once, if anything runs. Lost connections are noted at the same pace."""
        running = self._attempts.task_ids()
        if not running:
            return
        self._outages.look()
        for task_id in await self._ledger.find_cancel_requests(running):
            self._attempts.stop(task_id, Stop.CANCEL)


__all__ = ["CancelWatch"]
