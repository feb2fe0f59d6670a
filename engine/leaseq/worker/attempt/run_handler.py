"""Run handlers: in the event loop, or in a thread of a pool.

An executor knows one way to run a handler. `HandlerRunner` picks the executor for each handler and
starts it as one asyncio task. That task, which ends with the ending of the attempt, is all that an
attempt knows of its executor. An executor for processes needs no more than the same interface.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor as Pool
from functools import partial
from typing import Any, Protocol, TypeVar

from leaseq.model import ClaimedTask, Ending
from leaseq.observability.logs import restore_streams
from leaseq.observability.tracing import Tracing
from leaseq.registry import Handler, Registry
from leaseq.worker.attempt.deadlines import Deadlines
from leaseq.worker.attempt.outcome import ending_of, returned
from leaseq.worker.process.forks import exit_forked_copy

T = TypeVar("T")


class HandlerRun(Protocol):
    """One attempt, as its executor sees it."""

    claimed: ClaimedTask
    handler: Handler

    def enter(self, arguments: dict[str, Any]) -> None:
        """Make the current context (contextvars) the handler's, and add the handler's own context
        to its arguments."""

    def interrupted(self) -> Ending | None:
        """The ending of an attempt that was stopped, else None."""

    def handler_outlived(self) -> None:
        """Hear that the handler goes on although its executor has stopped waiting for it."""

    def handler_exited(self) -> None:
        """Hear that such a handler has ended."""


class Executor(Protocol):
    """One way to run handlers.

    Each executor guarantees:

    - `run` calls the handler at most once, and returns one ending for everything that the handler
      does: its result, any exception (also `SystemExit`, and panics of extensions), a payload that
      does not fit.
    - It raises only a cancellation of its task that the worker did not announce (`interrupted()` is
      None). After an announced one it returns that ending, unless the handler has returned a result
      or has raised `Retry` or `Fail` on its own (`outcome.ending_of`).
    - It calls `enter` once, before the handler, in the context from which the handler's code runs,
      so that all that the handler starts belongs to the attempt.
    - When its task is cancelled, it interrupts the handler if it can. If it cannot, it calls
      `handler_outlived` and ends without the handler. It calls `handler_exited` in the event loop
      once the handler has ended; until then the attempt keeps its slot. A handler that only ignores
      its cancellation needs neither: the attempt gives up on the task itself.
    - It does not block the event loop, and a forked copy of the worker process does not get past
      the handler.
    """

    async def run(self, run: HandlerRun) -> Ending:
        """Run the handler of this attempt to its ending."""


class LoopExecutor:
    """Runs `async def` handlers in the event loop of the worker."""

    def __init__(self, *, result_max_bytes: int) -> None:
        self._result_max_bytes = result_max_bytes

    async def run(self, run: HandlerRun) -> Ending:
        try:
            arguments = run.handler.decode(run.claimed.payload)
            run.enter(arguments)
            try:
                result = await run.handler.function(**arguments)
            finally:
                exit_forked_copy()
                restore_streams()
            return returned(result, max_bytes=self._result_max_bytes, codec=run.handler.codec)
        except (
            BaseException
        ) as error:  # a panic of an extension in another language is no Exception
            ending = ending_of(error, run.interrupted)
            if ending is None:
                raise
            return ending


class ThreadExecutor:
    """Runs plain `def` handlers in the threads of a pool. A thread cannot be interrupted, so it may
    outlive its attempt."""

    def __init__(self, pool: Pool, *, result_max_bytes: int) -> None:
        self._pool = pool
        self._result_max_bytes = result_max_bytes

    async def run(self, run: HandlerRun) -> Ending:
        try:
            arguments = run.handler.decode(run.claimed.payload)
            run.enter(arguments)
            result = await self._call(run, arguments)
            return returned(result, max_bytes=self._result_max_bytes, codec=run.handler.codec)
        except BaseException as error:
            ending = ending_of(error, run.interrupted)
            if ending is None:
                raise
            return ending

    async def _call(self, run: HandlerRun, arguments: dict[str, Any]) -> Any:
        call = partial(contextvars.copy_context().run, _call, run.handler.function, arguments)
        future = asyncio.get_running_loop().run_in_executor(self._pool, call)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if not future.done():
                run.handler_outlived()
                future.add_done_callback(partial(_exited, run))
            raise


def _call(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    try:
        return function(**arguments)
    except StopIteration as error:
        # No future can carry it: the attempt would wait for the thread forever.
        raise RuntimeError("the handler raised StopIteration") from error
    finally:
        exit_forked_copy()
        restore_streams()


def _exited(run: HandlerRun, future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()  # retrieved here: the attempt has ended already
    run.handler_exited()


class TracedExecutor:
    """Runs handlers as another executor does, each in the span of its attempt."""

    def __init__(self, executor: Executor, tracing: Tracing) -> None:
        self._executor = executor
        self._tracing = tracing

    async def run(self, run: HandlerRun) -> Ending:
        self._tracing.begin_attempt(run.claimed)
        ending = await self._executor.run(run)
        self._tracing.handler_ended(run.claimed, ending)
        return ending


class HandlerRunner:
    """Starts the handlers of one worker process. `pool`: the threads of plain handlers."""

    def __init__(
        self,
        registry: Registry,
        deadlines: Deadlines,
        *,
        pool: Pool,
        result_max_bytes: int,
        isolated: bool,
        tracing: Tracing | None = None,
    ) -> None:
        self.registry = registry
        self.deadlines = deadlines
        self.pool = pool
        # the process serves the suspect lane: one task at a time, and nothing else
        self.isolated = isolated
        self._loop = asyncio.get_running_loop()
        self._main = asyncio.current_task()
        self._in_loop: Executor = LoopExecutor(result_max_bytes=result_max_bytes)
        self._in_threads: Executor = ThreadExecutor(pool, result_max_bytes=result_max_bytes)
        if tracing is not None:
            self._in_loop = TracedExecutor(self._in_loop, tracing)
            self._in_threads = TracedExecutor(self._in_threads, tracing)

    @property
    def is_process_ending(self) -> bool:
        """Whether the main task of the process, in which this was made, was cancelled."""
        return self._main is not None and self._main.cancelling() > 0

    def start(self, run: HandlerRun) -> asyncio.Task[Ending]:
        """Run the handler of this attempt as a task."""
        executor = self._in_loop if run.handler.is_async else self._in_threads
        return start_task(self._loop, executor.run(run))


if sys.version_info >= (3, 12):

    def start_task(
        loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]
    ) -> asyncio.Task[T]:
        """Run `work` as a task of this loop, which is running.

        It starts within this call: a handler that waits for nothing is done when this returns, and
        costs the loop no turn. Where code has set a task factory (to trace, for example), it starts
        with the next turn of the loop.
        """
        if loop.get_task_factory() is None:
            return asyncio.Task(work, loop=loop, eager_start=True)
        return loop.create_task(work)

else:

    def start_task(
        loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]
    ) -> asyncio.Task[T]:
        """Run `work` as a task of this loop, which is running. Before Python 3.12 it starts with
        the next turn of the loop."""
        return loop.create_task(work)


__all__ = ["Executor", "HandlerRun", "HandlerRunner", "start_task"]
