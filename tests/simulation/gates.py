"""Gates: a test decides when each store operation happens, and its answer.

Every operation of an actor on a store stops at its gate first. The test lets it go, holds its
answer back, refuses it (it did not happen), loses its answer (it happened, and the actor gets a
broken connection), or lets the actor die there. Between two decisions nothing moves: time stands
still (`StillLoop`), and `Yard.quiet` returns once every actor stands or waits for time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum, auto
from typing import Any, TypeVar

T = TypeVar("T")

# In which activity of its actor does this run? What an activity starts in the background belongs to
# it.
ACTIVITY: ContextVar[str] = ContextVar("machine_activity", default="")


class StillLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock moves only when the test moves it, so that a slow machine makes no
    timer due."""

    now = 1000.0

    def time(self) -> float:
        return self.now

    @property
    def idle(self) -> bool:
        """Is nothing left to run before a store answers or time moves?"""
        ready: Any = self._ready  # type: ignore[attr-defined]
        return not ready


class Verdict(Enum):
    """The fate of an operation at a gate."""

    GO = auto()
    HOLD = auto()  # it happens, and its answer stands at the gate again
    REFUSE = auto()
    LOSE = auto()


class Stand:
    """One operation at a gate, or (`after`) the answer to one."""

    def __init__(self, gate: Gate, what: str, *, after: bool) -> None:
        self.gate = gate
        self.what = what
        self.after = after
        self.activity = ACTIVITY.get()
        self.verdict: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()


class Yard:
    """All gates of one test. `standing` is in the order of arrival."""

    def __init__(self) -> None:
        self.standing: list[Stand] = []
        self._flying = 0
        self._landed = asyncio.Event()

    @contextmanager
    def flight(self) -> Iterator[None]:
        """Inside, a server is at work for us."""
        self._flying += 1
        try:
            yield
        finally:
            self._flying -= 1
            self._landed.set()

    async def quiet(self) -> None:
        """Wait until nothing moves any more."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, StillLoop)
        while True:
            await asyncio.sleep(0)
            while not loop.idle:  # noqa: ASYNC110 (no code could set an event for "nothing is left to run")
                await asyncio.sleep(0)
            if self._flying == 0:
                return
            self._landed.clear()
            await self._landed.wait()

    async def decide(self, stand: Stand, verdict: Verdict) -> None:
        """Let one go on, and wait for what follows from it."""
        self.standing.remove(stand)
        stand.verdict.set_result(verdict)
        await self.quiet()


class Gate:
    """The gate of one actor. Once it is shut, the actor is dead: nothing of it reaches a store any
    more."""

    def __init__(self, yard: Yard, name: str) -> None:
        self.yard = yard
        self.name = name
        self.shut = False

    async def cross(
        self, what: str, operate: Callable[[], Awaitable[T]], lost: Callable[[], Exception]
    ) -> T:
        """One operation. `lost` is the error of an actor that does not learn what became of it."""
        verdict = await self._stand(what, after=False)
        if verdict is Verdict.REFUSE:
            raise lost()
        with self.yard.flight():
            answer = await operate()
        if verdict is Verdict.HOLD:
            verdict = await self._stand(what, after=True)
        if verdict in (Verdict.REFUSE, Verdict.LOSE):
            raise lost()
        return answer

    @property
    def standing(self) -> list[Stand]:
        return [stand for stand in self.yard.standing if stand.gate is self]

    async def _stand(self, what: str, *, after: bool) -> Verdict:
        if self.shut:
            raise asyncio.CancelledError
        stand = Stand(self, what, after=after)
        self.yard.standing.append(stand)
        try:
            return await stand.verdict
        finally:
            if stand in self.yard.standing:
                self.yard.standing.remove(stand)


__all__ = ["ACTIVITY", "Gate", "Stand", "StillLoop", "Verdict", "Yard"]
