"""The event loop that a worker shares with its handlers, and its threads.

`asyncio.to_thread` and `loop.run_in_executor(None, ...)` use one pool of threads for the whole
process: for every handler, and for the worker itself (psycopg cancels statements there). In a plain
event loop one handler could shut that pool down, or replace it, for all of them. A task factory,
too, is one for the whole loop. One that raises, or that an older release of Python called in
another way, would end the worker with every attempt in it.

Invariants: a pool that code sets (`set_default_executor`) serves that code and what it starts. So a
handler sets its own, and an app, while it is imported, that of all its handlers. The same holds for
a task factory. No code shuts the worker's own pool down. A pool that was shut down is no longer
used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

import uvloop

# As many threads as Python gives such a pool on a large machine. A worker with more slots than that
# has one for each.
THREADS = 32

_set_by_app: ContextVar[Executor | None] = ContextVar("leaseq_executor", default=None)

TaskFactory = Callable[..., "asyncio.Future[Any]"]
_factory: ContextVar[TaskFactory | None] = ContextVar("leaseq_task_factory", default=None)


class SharedLoop(uvloop.Loop):
    """An event loop whose default executor stays in working order."""

    def __init__(self, concurrency: int) -> None:
        super().__init__()
        self.thread_count = max(THREADS, concurrency)
        # busy with a call whose caller was cancelled: after a time-out, say
        self.abandoned_threads = 0
        self._threads = ThreadPoolExecutor(self.thread_count, thread_name_prefix="to_thread")

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> Any:
        """As in any event loop. Raises what the given executor raises; the default one takes the
        call in any case."""
        if executor is not None:
            return super().run_in_executor(executor, func, *args)
        if (chosen := _set_by_app.get()) is not None:
            try:
                return super().run_in_executor(chosen, func, *args)
            except RuntimeError:  # it was shut down
                _set_by_app.set(None)
        call = self._threads.submit(func, *args)
        future = asyncio.wrap_future(call, loop=self)
        future.add_done_callback(lambda future: self._count_abandoned(future, call))
        return future

    def set_default_executor(self, executor: Executor | None) -> None:
        """Use this executor for the calling code, and for the tasks that it starts from now on."""
        _set_by_app.set(executor)

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Forget what this code has set. Its executor is its own to shut down, and that of the
        worker serves others."""
        _set_by_app.set(None)

    async def shutdown_asyncgens(self) -> None:
        """Close nothing: the generators of the loop are those of all handlers, and of the worker,
        whose connections they hold."""

    def set_task_factory(self, factory: TaskFactory | None) -> None:
        """Make the tasks of the calling code with this factory, and those of the tasks that it
        starts from now on."""
        if factory is not None and not callable(factory):
            raise TypeError("a task factory must be a callable or None")
        _factory.set(factory)
        super().set_task_factory(_make_task)

    def get_task_factory(self) -> TaskFactory | None:
        """The factory of the calling code."""
        return _factory.get()

    def _count_abandoned(self, future: asyncio.Future[Any], call: Future[Any]) -> None:
        if future.cancelled() and not call.done():
            self.abandoned_threads += 1
            call.add_done_callback(lambda _: self.call_soon_threadsafe(self._count_returned))

    def _count_returned(self) -> None:
        self.abandoned_threads -= 1


def _make_task(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Future[Any]:
    factory = _factory.get()
    return (
        asyncio.Task(work, loop=loop, **options)
        if factory is None
        else factory(loop, work, **options)
    )


__all__ = ["SharedLoop"]
