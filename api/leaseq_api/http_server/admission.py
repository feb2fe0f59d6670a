"""Bound the requests that are worked on, and refuse those that wait too long.

A request waits in line for a moment, before its body is parsed, and is then refused with 503 and
Retry-After. The newest one has the next turn. So while there are too many, those that are answered
are answered soon, and a client that does not heed Retry-After is refused only now and then, which
costs little (docs/decisions/0048-newest-first-and-a-short-line.md).

Changes and reads have a bound each. A request that has become a wait for something else (a held
answer, a stream) steps aside: from then on it counts as a connection only.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Protocol

from leaseq.observability.telemetry import emit

WAIT_SECONDS = 0.6
# Those whose time is over within a moment are shed together, which costs less.
TOGETHER_SECONDS = 0.02
SHEDDING_EVERY_SECONDS = 10.0
SHED = "this service has more requests than it can answer in time; try again later"


class Admitted(Protocol):
    """A request, as an admission sees it."""

    since: float  # when it came into the line
    given_up: bool  # its client has gone

    def begin(self) -> None:
        """Let the application work on it."""

    def shed(self, detail: str) -> None:
        """Answer 503."""


class Admission:
    """The requests of one kind that are worked on, and the line before them, oldest first."""

    def __init__(self, kind: str, *, most: int) -> None:
        self.kind = kind
        self.working = 0
        self._most = most
        self._line: deque[Admitted] = deque()
        self._loop = asyncio.get_running_loop()
        self._alarm: asyncio.TimerHandle | None = None
        # Since the last event.
        self._shed = 0
        self._told = float("-inf")

    @property
    def waiting(self) -> int:
        """Requests in the line."""
        return len(self._line)

    def enter(self, request: Admitted) -> None:
        """Begin a request now, or put it into the line."""
        if self.working < self._most:
            self.working += 1
            request.begin()
            return
        request.since = self._loop.time()
        self._line.append(request)
        if self._alarm is None:
            self._alarm = self._loop.call_later(WAIT_SECONDS, self._shed_late)

    def leave(self) -> None:
        """Count a request no longer, because it is answered or has stepped aside. The next one
        begins."""
        self.working -= 1
        while self._line and self.working < self._most:
            request = self._line.pop()
            if not request.given_up:
                self.working += 1
                request.begin()

    def _shed_late(self) -> None:
        """Shed those that have waited too long, and come again for the next ones."""
        self._alarm = None
        now = self._loop.time()
        while self._line:
            due = self._line[0].since + WAIT_SECONDS
            if due > now:
                self._alarm = self._loop.call_at(max(due, now + TOGETHER_SECONDS), self._shed_late)
                break
            request = self._line.popleft()
            if not request.given_up:
                self._shed += 1
                request.shed(SHED)
        if self._shed and now - self._told >= SHEDDING_EVERY_SECONDS:
            emit("api.shedding", kind=self.kind, refused=self._shed, waiting=len(self._line))
            self._shed, self._told = 0, now


def step_aside(scope: Any) -> None:
    """Stop counting a request as one that is worked on: from now on it waits for something else."""
    leave = scope.get("step_aside")
    if leave is not None:  # another HTTP server has no admission
        leave()


__all__ = ["Admission", "step_aside"]
