"""Wait for tasks to end.

All waits of a process share the polls of the ledger. Each wait has its own pace: it is looked at
often in its first moments and then four times a second, so a newcomer does not make the tasks of
others be asked about again. One poll asks for every task that is due by then. Where many wait,
polls have a budget: a burst of them, and so many a second in the long run, however many callers
come and go. The ledger is asked, not dispatch: the answer is the truth, and holds while Redis is
away.
"""

from __future__ import annotations

import asyncio
from time import monotonic

from leaseq.errors import ServerUnreachable
from leaseq.ledger.tasks import TaskLedger
from leaseq.loop import end
from leaseq.model import TERMINAL

FIRST_POLL_SECONDS = 0.002
SLOWEST_POLL_SECONDS = 0.25
PACE = 1.5
# While this many tasks are waited for, polls have a budget. A few waits need none: the quick looks
# of each end soon.
CROWD = 32
BURST = 16.0
POLLS_PER_SECOND = 20.0


class Wait:
    """One task that callers wait for: their events, and the time of its next look."""

    def __init__(self, now: float) -> None:
        self.events: set[asyncio.Event] = set()
        self.quicken(now)

    def quicken(self, now: float) -> None:
        """A new caller waits: look soon."""
        self.interval = FIRST_POLL_SECONDS
        self.due = now

    def looked(self, now: float) -> None:
        """It has not ended yet."""
        self.due = now + self.interval
        self.interval = min(self.interval * PACE, SLOWEST_POLL_SECONDS)


class Waiter:
    """Wakes the callers that wait for a task, once the ledger says that it has ended (or no longer
    has it)."""

    def __init__(self, ledger: TaskLedger) -> None:
        self._ledger = ledger
        self._waits: dict[str, Wait] = {}
        self._poller: asyncio.Task[None] | None = None
        self._came = asyncio.Event()
        self._budget = BURST
        self._spent_at = monotonic()

    async def wait(self, task_id: str, *, timeout: float) -> bool:
        """Wait until the task has ended; False if `timeout` seconds pass first."""
        ended = asyncio.Event()
        wait = self._waits.setdefault(task_id, Wait(monotonic()))
        wait.events.add(ended)
        wait.quicken(monotonic())
        self._came.set()
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll())
        try:
            async with asyncio.timeout(timeout):
                await ended.wait()
            return True
        except TimeoutError:
            return False
        finally:
            wait.events.discard(ended)
            if not wait.events and self._waits.get(task_id) is wait:
                del self._waits[task_id]

    async def aclose(self) -> None:
        """End the polls; callers that still wait run into their time-out."""
        if self._poller is not None:
            await end(self._poller)

    async def _poll(self) -> None:
        while self._waits:
            await self._until_due()
            now = monotonic()
            due = {task_id: wait for task_id, wait in self._waits.items() if wait.due <= now}
            if not due:
                continue
            try:
                states = await self._ledger.find_states([*due])
            except ServerUnreachable:
                states = None
            for task_id, wait in due.items():
                wait.looked(monotonic())
                state = states.get(task_id) if states else None
                if states is not None and (state is None or state in TERMINAL):
                    for ended in wait.events:
                        ended.set()

    async def _until_due(self) -> None:
        """Sleep until a wait is due and the budget has a poll."""
        self._refill()
        if self._budget < 1.0 and len(self._waits) >= CROWD:
            await asyncio.sleep((1.0 - self._budget) / POLLS_PER_SECOND)
            self._refill()
        while self._waits:
            self._came.clear()
            left = min(wait.due for wait in self._waits.values()) - monotonic()
            if left <= 0:
                break
            try:
                async with asyncio.timeout(left):
                    await self._came.wait()
            except TimeoutError:
                break
        self._budget = max(self._budget - 1.0, 0.0)

    def _refill(self) -> None:
        now = monotonic()
        self._budget = min(BURST, self._budget + (now - self._spent_at) * POLLS_PER_SECOND)
        self._spent_at = now


__all__ = ["Waiter"]
