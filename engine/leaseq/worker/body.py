"""How is a running handler interrupted when its time is over or it is told to end, and what if it does not let itself be?

A cancellation is a request: a handler (or a library under it) may swallow it and go on. The attempt does not go on with
it. It waits a little, then it ends without its handler, which lingers as a thread does that overran its time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from leaseq.model import Ending

# Shorter than what a draining worker waits for its last endings (worker.LAST_WORDS_SECONDS).
PATIENCE_SECONDS = 3.0


class Body:
    """The handler's part of an attempt, as a task of its own. After `limit_seconds` it calls `overtime`, which interrupts."""

    def __init__(self, run: Coroutine[Any, Any, Ending], *, limit_seconds: float, overtime: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._task = self._loop.create_task(run)
        self._task.add_done_callback(lambda _: self._end())
        self._timer = self._loop.call_later(limit_seconds, overtime)

    def interrupt(self) -> None:
        """Ask it to end, and wait no longer than `PATIENCE_SECONDS` for it."""
        self._task.cancel()
        self._timer.cancel()
        self._timer = self._loop.call_later(PATIENCE_SECONDS, self._end)

    async def ending(self) -> Ending | None:
        """How it ended; None if it was asked to and did not."""
        try:
            await self._over
        finally:
            self._timer.cancel()
            if not self._task.done():
                self._task.cancel()  # once more, and for the first time where nobody waits for us any longer
        return self._task.result() if self._task.done() else None

    def when_over(self, callback: Callable[[], None]) -> None:
        """Call this when it has ended after all."""
        self._task.add_done_callback(lambda task: self._late(task, callback))

    def _end(self) -> None:
        if not self._over.done():
            self._over.set_result(None)

    def _late(self, task: asyncio.Task[Ending], callback: Callable[[], None]) -> None:
        if not task.cancelled():
            task.exception()  # nobody else will look: the attempt has ended already
        callback()


__all__ = ["Body"]
