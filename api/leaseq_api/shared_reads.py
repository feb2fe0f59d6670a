"""Reads for pages, each made at most every few seconds for all who look."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

FRESH_SECONDS = 5.0
# Answers that are remembered.
REMEMBERED = 100

T = TypeVar("T")


class SharedReads:
    """The last answers of one process, by their subject. Requests that come while one is being read
    share it."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._found: OrderedDict[Hashable, tuple[float, Any]] = OrderedDict()

    async def read(self, subject: Hashable, read: Callable[[], Awaitable[T]]) -> T:
        """The answer about a subject, at most `FRESH_SECONDS` old. Raises as `read` does."""
        async with self._lock:
            now = asyncio.get_running_loop().time()
            read_at, answer = self._found.get(subject, (float("-inf"), None))
            if now - read_at >= FRESH_SECONDS:
                answer = await read()
                self._found[subject] = (now, answer)
            self._found.move_to_end(subject)
            while len(self._found) > REMEMBERED:
                self._found.popitem(last=False)
            found: T = answer
            return found

    def forget(self) -> None:
        """Let the next requests read again, because this process has changed something."""
        self._found.clear()


__all__ = ["SharedReads"]
