"""How does the trouble of one queue or worker stay its own?

A key of the wrong type makes every command on it fail for ever, and must not keep a pass from the queues behind it.
But when a server is gone, one pass must not wait out a time-out for each of a hundred queues; and one that answers and takes no
writes (full, or a replica) would have it promote, and walk past, what it cannot deliver. So after a failure both servers are
asked something simple: if they do it, the trouble is the item's own and the pass goes on; it is raised at the end, so that
somebody hears of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from leaseq.engine.engine import Stores

T = TypeVar("T")


class Apart:
    """Keeps the troubles of one pass apart from each other."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._trouble: Exception | None = None

    async def each(self, items: Iterable[T], act: Callable[[T], Awaitable[object]]) -> None:
        """Do `act` for each item. Raises only when a server is away, or Redis takes no writes."""
        for item in items:
            try:
                await act(item)
            except Exception as error:
                await self._stores.survey.probe()
                await self._stores.fleet.find_open([])
                self._trouble = self._trouble or error

    def complain(self) -> None:
        """Raise the first trouble of this pass, if there was one. Last thing in a pass."""
        trouble, self._trouble = self._trouble, None
        if trouble is not None:
            raise trouble


__all__ = ["Apart"]
