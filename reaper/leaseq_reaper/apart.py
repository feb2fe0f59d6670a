"""How does the trouble of one queue or worker stay its own?

A key of the wrong type makes every command on it fail for ever, and must not keep a pass from the queues behind it. But when
a server is gone, one pass must not wait out a time-out for each of a hundred queues: two failures in a row end it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")

IN_A_ROW = 2


async def apart(items: Iterable[T], act: Callable[[T], Awaitable[None]]) -> None:
    """Do `act` for each item. Raises the first error, at the end, or after two in a row."""
    first: Exception | None = None
    row = 0
    for item in items:
        try:
            await act(item)
            row = 0
        except Exception as error:
            first = first or error
            row += 1
            if row == IN_A_ROW:
                break
    if first is not None:
        raise first


__all__ = ["apart"]
