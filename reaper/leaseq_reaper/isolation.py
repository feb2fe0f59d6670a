"""Isolate failures: one broken queue must not stop the pass for the others.

A key of the wrong type makes every command on it fail permanently, and must not keep a pass from
the queues behind it. But when a server is gone, one pass must not wait for a time-out for each of a
hundred queues. A server that answers and takes no writes (full, or a replica) would let the pass
promote tasks, and scan past tasks, that it cannot deliver. So after a failure both servers are
asked for something simple. If they do it, the failure belongs to the item and the pass continues.
The failure is raised at the end, so that it is reported.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TypeVar

from leaseq.errors import ServerUnreachable
from leaseq.loop import spread
from leaseq.operations.stores import Stores

T = TypeVar("T")
K = TypeVar("K")

# Items that a pass handles concurrently. A round trip takes milliseconds, and a queue name costs a
# client one POST: one after the other, a thousand queues would take seconds.
AT_ONCE = 8


class FailureIsolation:
    """Isolates the failures of one pass from each other."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._trouble: Exception | None = None

    async def each(
        self, items: Iterable[T], act: Callable[[T], Awaitable[object]], *, at_once: int = 1
    ) -> None:
        """Call `act` for each item, `at_once` at a time. Raises only when a server is away, or
        Redis takes no writes."""

        async def attempt(item: T) -> None:
            try:
                await act(item)
            except Exception as error:
                await self._note(error)

        items = [*items]
        if min(at_once, len(items)) > 1:
            await spread(items, attempt, at_once=min(at_once, len(items)))
            return
        for item in items:
            await attempt(item)

    async def sort_out(self, answers: Mapping[K, T | ServerUnreachable]) -> dict[K, T]:
        """The answers of those that could be read. Raises as `each` does."""
        failed = next(
            (answer for answer in answers.values() if isinstance(answer, ServerUnreachable)), None
        )
        if failed is not None:
            await self._note(failed)
        return {
            key: answer
            for key, answer in answers.items()
            if not isinstance(answer, ServerUnreachable)
        }

    def raise_first(self) -> None:
        """Raise the first failure of this pass, if there was one. Call it last in a pass."""
        trouble, self._trouble = self._trouble, None
        if trouble is not None:
            raise trouble

    async def _note(self, error: Exception) -> None:
        await self._stores.dispatch_server.probe()
        await self._stores.workers.find_open([])
        self._trouble = self._trouble or error


__all__ = ["AT_ONCE", "FailureIsolation"]
