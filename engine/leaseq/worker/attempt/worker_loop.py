"""Bring what a handler asks of its context to the event loop of the worker.

The worker's connections belong to its event loop. A plain `def` handler runs in a thread, where `asyncio.run` starts an event
loop of its own, and a forked process has a copy of the loop that never turns. A connection that is used from there hangs both
sides. So a call either runs on the worker's loop, or raises an error that names the remedy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from leaseq.worker.process.forks import is_copy

T = TypeVar("T")


async def run_at_home(make: Callable[[], Coroutine[Any, Any, T]], home: asyncio.AbstractEventLoop) -> T:
    """Run a coroutine on the worker's loop, and wait for it on this one."""
    require_process()
    if asyncio.get_running_loop() is home:
        return await make()
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(make(), home))


def wait_at_home(make: Callable[[], Coroutine[Any, Any, T]], home: asyncio.AbstractEventLoop) -> T:
    """Run a coroutine on the worker's loop, and wait for it in this thread. Raises `RuntimeError` on that loop itself."""
    require_process()
    if is_at_home(home):
        raise RuntimeError("a blocking call in an async handler would stop its worker: use `async with ctx.transaction()` here")
    return asyncio.run_coroutine_threadsafe(make(), home).result()


def is_at_home(home: asyncio.AbstractEventLoop) -> bool:
    """Whether this code runs on the worker's event loop."""
    try:
        return asyncio.get_running_loop() is home
    except RuntimeError:  # no loop runs in this thread
        return False


def require_process() -> None:
    """Raises `RuntimeError` in a process that a handler forked."""
    if is_copy():
        raise RuntimeError("a forked process has no connection to the worker: use the context in the handler itself")


__all__ = ["is_at_home", "require_process", "run_at_home", "wait_at_home"]
