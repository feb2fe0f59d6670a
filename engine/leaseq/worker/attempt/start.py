"""How does a handler begin?

Where Python can (from 3.12), at once, within the call that starts it: a handler that waits for nothing is over when that
returns, and the event loop never hears of it. Elsewhere, and where somebody has set a task factory of his own (to
trace, say), with the next turn of the loop.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

if sys.version_info >= (3, 12):

    def start(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run `work` as a task of this loop, which is running."""
        if loop.get_task_factory() is None:
            return asyncio.Task(work, loop=loop, eager_start=True)
        return loop.create_task(work)

else:

    def start(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run `work` as a task of this loop, which is running."""
        return loop.create_task(work)


__all__ = ["start"]
