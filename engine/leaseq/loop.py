"""Run background loops, try again after errors, and end tasks.

Every background loop uses `run_forever`. It waits between rounds with jitter, and after an error it
waits longer and reports that. It ends when `stop` is set.

Everything else that is tried again declares its pauses, its end and its report as `Retries`
(decision 38). `retry` calls a function again and again. A loop whose next try depends on the last
error awaits `Retries.wait` itself.

Invariants: nothing here swallows a cancellation. An operation whose reply was lost may have
happened: only operations that may be repeated, or that find out what happened, are tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from math import inf
from random import random
from time import monotonic
from typing import Any, TypeVar

from msgspec import Struct

from leaseq.errors import ServerUnreachable
from leaseq.observability.telemetry import emit
from leaseq.safe_text.exceptions import told

AGAIN_SECONDS = 0.5

JITTER = 0.1

T = TypeVar("T")


class Pauses(Struct, frozen=True):
    """The seconds between tries: the first pause, its growth from one failure to the next, and the
    longest pause."""

    first: float
    growth: float = 1.0
    cap: float = inf

    def after(self, failures: int) -> float:
        """The pause after so many failures in a row, at least one."""
        return min(self.first * self.growth ** min(failures - 1, 64), self.cap)


class Retries:
    """The failures in a row of one operation, and the policy for its next try.

    `report` is called with the first error in a row, or with each one (`every`). An operation
    without `seconds` is tried until it succeeds, otherwise for so long from now. If `stop` is set,
    a pause ends early.
    """

    def __init__(
        self,
        pauses: Pauses,
        *,
        report: Callable[[Exception], object] | None = None,
        every: bool = False,
        seconds: float = inf,
        stop: asyncio.Event | None = None,
    ) -> None:
        self.failures = 0
        self.stop = stop
        self._pauses = pauses
        self._report = report
        self._every = every
        self._until = monotonic() + seconds

    async def wait(self, error: Exception) -> None:
        """Report an error, and pause before the next try. Raises the error if its time is over."""
        self.failures += 1
        seconds = self._pauses.after(self.failures)
        if monotonic() + seconds > self._until:
            raise error
        if self._report is not None and (self._every or self.failures == 1):
            self._report(error)
        if self.stop is None:
            await asyncio.sleep(seconds)
        else:
            await pause(seconds, stop=self.stop)


async def retry(
    act: Callable[[], Awaitable[T]],
    retries: Retries,
    *,
    unless: type[ServerUnreachable] | tuple[()] = (),
) -> T:
    """Call `act` until no store is away any more, and return its result.

    Raises the last error when the time is over or `stop` is set, and immediately an error of the
    kind `unless`, which waiting does not change.
    """
    while True:
        try:
            return await act()
        except unless:
            raise
        except ServerUnreachable as error:
            await retries.wait(error)
            if retries.stop is not None and retries.stop.is_set():
                raise


async def run_forever(
    run_once: Callable[[], Awaitable[None]],
    *,
    name: str,
    interval_seconds: float,
    stop: asyncio.Event,
    error_cap_seconds: float = 2.0,
) -> None:
    """Run rounds until `stop` is set. After an error the wait doubles, up to
    `error_cap_seconds`."""
    longest = max(error_cap_seconds, interval_seconds)
    pauses, failures = Pauses(2 * interval_seconds, growth=2.0, cap=longest), 0
    while not stop.is_set():
        try:
            await run_once()
            failures = 0
            wait = interval_seconds
        except ServerUnreachable as error:
            failures += 1
            wait = pauses.after(failures)
            if failures == 1:
                emit("loop.failed", loop=name, error=str(error))
        except Exception as error:
            failures += 1
            wait = longest
            emit("loop.failed", loop=name, error=told(error))
        await pause(wait * (1 - JITTER + 2 * JITTER * random()), stop=stop)


async def pause(seconds: float, *, stop: asyncio.Event) -> None:
    """Sleep, but end early when `stop` is set."""
    if seconds <= 0:
        await asyncio.sleep(0)
        return
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


async def spread(
    items: Iterable[T], act: Callable[[T], Awaitable[object]], *, at_once: int
) -> None:
    """Call `act` for each item, with up to `at_once` calls at a time. The first error ends all
    calls and is raised."""
    left = iter(items)

    async def work() -> None:
        for item in left:
            await act(item)

    workers = [asyncio.create_task(work()) for _ in range(at_once)]
    try:
        await asyncio.gather(*workers)
    finally:
        await end(*workers)


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks until they have ended. Raises none of their exceptions.

    One cancellation may not be enough: before Python 3.12 `asyncio.wait_for`, which psycopg's pools
    use, loses a cancellation that arrives when the awaited operation completes (cpython#86296).
    """
    while alive := [task for task in tasks if not task.done()]:
        for task in alive:
            task.cancel()
        await asyncio.wait(alive, timeout=AGAIN_SECONDS)


__all__ = ["Pauses", "Retries", "end", "pause", "retry", "run_forever", "spread"]
