"""The times at which running attempts are out of time.

One timer of the event loop serves all attempts of a process, because setting and cancelling one for
each costs a task several microseconds. Attempts with the same time-out are kept in the order of
their starts, which is the order of their deadlines.

Invariants: an attempt that is cleared in time never gets its deadline. The timer fires no later
than the earliest deadline.
"""

from __future__ import annotations

import asyncio
from typing import Protocol


class Timed(Protocol):
    """An attempt that can run out of time."""

    def overrun(self) -> None:
        """Called once, in the event loop, when the deadline has passed; must not raise."""


class Deadlines:
    """The deadlines of one process."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # by time-out in seconds; each in order of its deadlines
        self._lines: dict[float, dict[Timed, float]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def set(self, timed: Timed, seconds: float) -> None:
        """Tell an attempt when so many seconds have passed."""
        deadline = self._loop.time() + seconds
        self._lines.setdefault(seconds, {})[timed] = deadline
        if self._timer is None or deadline < self._timer.when():
            self._fire_at(deadline)

    def clear(self, timed: Timed, seconds: float) -> None:
        """Forget an attempt, which was set with so many seconds, or whose deadline has passed
        already, or was never set."""
        line = self._lines.get(seconds)
        if line is not None:
            line.pop(timed, None)
            if not line:
                del self._lines[seconds]

    def _fire_at(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._fire)

    def _fire(self) -> None:
        """Tell every attempt that is out of time, and set the timer for the next one."""
        self._timer = None
        now = self._loop.time()
        late = [
            (timed, seconds)
            for seconds, line in self._lines.items()
            for timed, deadline in line.items()
            if deadline <= now
        ]
        for timed, seconds in late:
            self.clear(timed, seconds)
            timed.overrun()
        following = [next(iter(line.values())) for line in self._lines.values()]
        if following:
            self._fire_at(min(following))


__all__ = ["Deadlines", "Timed"]
