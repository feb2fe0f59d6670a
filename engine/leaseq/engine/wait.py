"""How does somebody wait for a task to end?

All waits of a process share one poll of the ledger: a thousand waiting callers cost one small query each round. The
ledger is asked, not dispatch: the answer is the truth, and holds while Redis is away.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict

from leaseq.errors import ServerUnreachable
from leaseq.ledger.ledger import Ledger
from leaseq.model import TERMINAL

FIRST_POLL_SECONDS = 0.002
SLOWEST_POLL_SECONDS = 0.25


class Waiter:
    """Wakes whoever waits for a task, once the ledger says that it has ended (or no longer has it)."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._waits: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._poller: asyncio.Task[None] | None = None
        self._interval = FIRST_POLL_SECONDS

    async def wait(self, task_id: str, *, timeout: float) -> bool:
        """Wait until the task has ended; False if `timeout` seconds pass first."""
        ended = asyncio.Event()
        self._waits[task_id].add(ended)
        self._interval = FIRST_POLL_SECONDS
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll())
        try:
            async with asyncio.timeout(timeout):
                await ended.wait()
            return True
        except TimeoutError:
            return False
        finally:
            self._waits[task_id].discard(ended)
            if not self._waits[task_id]:
                del self._waits[task_id]

    async def aclose(self) -> None:
        """End the poll; whoever still waits runs into its time-out."""
        if self._poller is not None:
            self._poller.cancel()
            await asyncio.gather(self._poller, return_exceptions=True)

    async def _poll(self) -> None:
        while self._waits:
            wanted = list(self._waits)
            try:
                states = await self._ledger.find_states(wanted)
            except ServerUnreachable:
                states = None
            for task_id in wanted if states is not None else ():
                state = states.get(task_id) if states else None
                if state is None or state in TERMINAL:
                    for ended in self._waits.get(task_id, ()):
                        ended.set()
            await asyncio.sleep(self._interval)
            self._interval = min(self._interval * 1.5, SLOWEST_POLL_SECONDS)


__all__ = ["Waiter"]
