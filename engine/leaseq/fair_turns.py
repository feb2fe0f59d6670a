"""Turns of owners, so that one of them does not delay the others.

Within one owner the order is first in, first out.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class FairLine(Generic[T]):
    """Waiting items, taken from one owner after the other."""

    def __init__(self) -> None:
        # In the order of the next turns.
        self._lines: dict[Hashable, deque[T]] = {}

    def __bool__(self) -> bool:
        return bool(self._lines)

    def put(self, owner: Hashable, item: T) -> None:
        """Add the last item of an owner."""
        line = self._lines.get(owner)
        if line is None:
            line = self._lines[owner] = deque()
        line.append(item)

    def take(self, count: int) -> list[T]:
        """Remove up to so many items, as many of each owner as far as it has them."""
        taken: list[T] = []
        while self._lines and len(taken) < count:
            share = max(1, (count - len(taken)) // len(self._lines))
            for owner in list(self._lines)[: count - len(taken)]:
                line = self._lines.pop(owner)
                taken += [line.popleft() for _ in range(min(share, len(line)))]
                if line:
                    self._lines[owner] = line
        return taken


class FairTurns:
    """At most `at_once` holders of a turn. Owners that wait get the next turns alternately."""

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._line: FairLine[asyncio.Future[None]] = FairLine()

    @asynccontextmanager
    async def turn(self, owner: Hashable) -> AsyncIterator[None]:
        """Hold one turn within the block."""
        if self._free > 0:
            self._free -= 1
        else:
            await self._wait(owner)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, owner: Hashable) -> None:
        given: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.put(owner, given)
        try:
            await given
        except asyncio.CancelledError:
            if not given.cancelled():  # the turn was given at the same moment
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        while self._line:
            (given,) = self._line.take(1)
            if not given.done():
                given.set_result(None)
                return
        self._free += 1


__all__ = ["FairLine", "FairTurns"]
