"""Run background loops with jitter and backoff, and end tasks.

Every background loop uses this runner. It waits between rounds with jitter, and after an error it
waits longer and reports that. It ends when `stop` is set. It never swallows a cancellation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from random import random
from typing import Any, TypeVar

from leaseq.errors import ServerUnreachable
from leaseq.observability.telemetry import emit
from leaseq.safe_text.exceptions import told

AGAIN_SECONDS = 0.5

T = TypeVar("T")


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
    failures = 0
    while not stop.is_set():
        try:
            await run_once()
            failures = 0
            wait = interval_seconds
        except ServerUnreachable as error:
            failures += 1
            wait = min(
                interval_seconds * 2.0 ** min(failures, 64),
                max(error_cap_seconds, interval_seconds),
            )
            if failures == 1:
                emit("loop.failed", loop=name, error=str(error))
        except Exception as error:
            failures += 1
            wait = max(error_cap_seconds, interval_seconds)
            emit("loop.failed", loop=name, error=told(error))
        await pause(wait * (0.9 + 0.2 * random()), stop=stop)


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


__all__ = ["end", "pause", "run_forever", "spread"]
