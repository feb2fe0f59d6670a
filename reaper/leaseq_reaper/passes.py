"""Run passes so that an exception ends nothing and is reported once.

Invariants: a failure is reported when it begins, and not again before a pass has succeeded. At a
stop, passes get a moment to finish and are then cancelled, which is safe anywhere: each of their
steps may be repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from msgspec import Struct

from leaseq.errors import ServerUnreachable
from leaseq.observability.telemetry import emit
from leaseq.safe_text.exceptions import told

FINISH_SECONDS = 0.4
SEVERAL = 10


def _always_once() -> float:
    return 1.0


class Duty(Struct, frozen=True):
    """A pass and its interval in seconds. `slack`: the factor of the next interval, larger after
    passes that found nothing to do."""

    name: str
    interval_seconds: float
    run_once: Callable[[], Awaitable[None]]
    slack: Callable[[], float] = _always_once


class Quiet:
    """Counts the passes in a row that have found nothing to do. After SEVERAL of them the next ones
    may come later."""

    def __init__(self, factor: float) -> None:
        self._factor = factor
        self._passes = 0

    def note(self, *, found: bool) -> None:
        """A pass has found something to do, or nothing."""
        self._passes = 0 if found else self._passes + 1

    def slack(self) -> float:
        """The factor by which the next interval is longer."""
        return self._factor if self._passes >= SEVERAL else 1.0


class Passes:
    """Runs passes, and reports each failure once."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()
        self._troubled: set[str] = set()

    def start(self, duty: Duty) -> asyncio.Task[None]:
        """Run one pass, in a separate task, and raise nothing."""
        running = asyncio.create_task(self._guarded(duty))
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return running

    async def stop(self) -> None:
        """Let running passes finish, and cancel those that take longer than a moment."""
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=FINISH_SECONDS)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=FINISH_SECONDS)

    async def _guarded(self, duty: Duty) -> None:
        try:
            await duty.run_once()
        except ServerUnreachable as error:
            self._tell(duty, str(error))
        except Exception as error:
            self._tell(duty, told(error))
        else:
            self._troubled.discard(duty.name)

    def _tell(self, duty: Duty, error: str) -> None:
        if duty.name not in self._troubled:
            self._troubled.add(duty.name)
            emit("loop.failed", loop=duty.name, error=error)


__all__ = ["Duty", "Passes", "Quiet"]
