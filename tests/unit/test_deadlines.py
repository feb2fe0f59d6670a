"""The deadlines of many attempts, served by one timer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any, cast

from leaseq.worker.attempt.deadlines import Deadlines


class Clockwork:
    """An event loop of which there is only the time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[asyncio.TimerHandle] = []
        self.as_loop = cast(asyncio.AbstractEventLoop, self)

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any) -> asyncio.TimerHandle:
        self.timers.append(asyncio.TimerHandle(when, callback, args, self.as_loop))
        return self.timers[-1]

    def get_debug(self) -> bool:
        return False

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        self.timers.remove(handle)

    def advance(self, now: float) -> None:
        while (
            due := min(self.timers, key=asyncio.TimerHandle.when, default=None)
        ) is not None and due.when() <= now:
            self.timers.remove(due)
            self.now = max(self.now, due.when())
            due._run()
        self.now = now


class Attempt:
    def __init__(self, loop: Clockwork) -> None:
        self.heard: list[float] = []
        self._loop = loop

    def overrun(self) -> None:
        self.heard.append(self._loop.now)


def test_each_deadline_fires_once_and_at_its_time() -> None:
    loop, random = Clockwork(), Random(7)
    deadlines = Deadlines(loop.as_loop)
    expected: dict[Attempt, list[float]] = {}
    for _ in range(500):
        loop.advance(loop.now + random.choice([0.0, 0.25, 1.0]))
        attempt, seconds = Attempt(loop), random.choice([0.5, 3.0, 3.0, 60.0, 0.0])
        deadlines.set(attempt, seconds)
        expected[attempt] = [loop.now + seconds]
        if random.random() < 0.4:
            deadlines.clear(attempt, seconds)
            expected[attempt] = []
        assert len(loop.timers) <= 1
    loop.advance(loop.now + 100)
    assert {attempt: attempt.heard for attempt in expected} == expected
    assert loop.timers == []
    assert deadlines._lines == {}


def test_deadline_may_clear_another_and_set_itself_again() -> None:
    loop = Clockwork()
    deadlines = Deadlines(loop.as_loop)
    second = Attempt(loop)

    class First(Attempt):
        def overrun(self) -> None:
            super().overrun()
            deadlines.clear(second, 2.0)
            if len(self.heard) == 1:
                deadlines.set(self, 1.0)

    first = First(loop)
    deadlines.set(second, 2.0)
    deadlines.set(first, 1.0)
    loop.advance(10)
    assert (first.heard, second.heard) == ([1.0, 2.0], [])


async def test_a_real_loop_fires_for_the_next_one_when_the_first_is_cleared() -> None:
    """The timer was set for an attempt that has ended; it stays, and finds the others."""
    loop = asyncio.get_running_loop()
    deadlines = Deadlines(loop)
    heard = asyncio.Event()

    class Late:
        def overrun(self) -> None:
            heard.set()

    quick = Late()
    deadlines.set(quick, 0.01)
    deadlines.set(Late(), 0.05)
    deadlines.clear(quick, 0.01)
    await asyncio.wait_for(heard.wait(), 30)
