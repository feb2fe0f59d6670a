"""Run the main task of a process, even where handlers stop its event loop.

An event loop stops when a callback raises `SystemExit` or `KeyboardInterrupt`, and when
`loop.stop()` is called. A handler's own exceptions end its attempt (`outcome.py`). Code that a
handler left in a task of its own, in a callback or in a timer reaches the loop directly, where it
would end the process and every other attempt in it.

Invariant: the loop runs until the main task is done. Ready callbacks are kept while it is entered
again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from leaseq.observability.telemetry import emit

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> T:
    """Run `main` to its end in `loop`. The loop is not closed: that would wait for handlers that do
    not end."""
    asyncio.set_event_loop(loop)
    task = loop.create_task(main)
    while True:
        try:
            return loop.run_until_complete(task)
        except BaseException as error:
            if task.done() or loop.is_closed():
                raise
            emit("handler.escaped", error=_text(error))


def _text(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except (Exception, SystemExit, KeyboardInterrupt):  # the exception's own code has a fault
        return type(error).__name__


__all__ = ["run"]
