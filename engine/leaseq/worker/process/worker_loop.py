"""Bring what a handler asks of its context to the event loop of the worker.

The worker's connections belong to its event loop. A plain `def` handler runs in a thread, where
`asyncio.run` starts a separate event loop, and a forked process has a copy of the loop that never
turns. A connection that is used from there hangs both sides. So a call either runs on the worker's
loop, or raises an error that names the remedy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from leaseq.worker.process.forks import is_forked_copy

T = TypeVar("T")


async def run_on_worker_loop(
    make: Callable[[], Coroutine[Any, Any, T]], loop: asyncio.AbstractEventLoop
) -> T:
    """Run a coroutine on the worker's loop, and wait for it on this one."""
    require_worker_process()
    if asyncio.get_running_loop() is loop:
        return await make()
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(make(), loop))


def wait_on_worker_loop(
    make: Callable[[], Coroutine[Any, Any, T]], loop: asyncio.AbstractEventLoop
) -> T:
    """Run a coroutine on the worker's loop, and wait for it in this thread. Raises `RuntimeError`
    on that loop itself."""
    require_worker_process()
    if is_on_worker_loop(loop):
        raise RuntimeError(
            "a blocking call in an async handler would stop its worker: use `async with ctx.transaction()` here"
        )
    return asyncio.run_coroutine_threadsafe(make(), loop).result()


def is_on_worker_loop(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether this code runs on the worker's event loop."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:  # no loop runs in this thread
        return False


def require_worker_process() -> None:
    """Raises `RuntimeError` in a process that a handler forked."""
    if is_forked_copy():
        raise RuntimeError(
            "a forked process has no connection to the worker: use the context in the handler itself"
        )


__all__ = [
    "is_on_worker_loop",
    "require_worker_process",
    "run_on_worker_loop",
    "wait_on_worker_loop",
]
