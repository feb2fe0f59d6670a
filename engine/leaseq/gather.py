"""How do single calls become batches without anybody waiting for a batch to fill?

While one batch is being written, what arrives is gathered into the next. A lone item on an idle gatherer goes
straight through. Whoever awaits an answer is bounded: when `capacity` items wait, callers wait too (backpressure instead of
growth). Whoever leaves a function to be called with the answer is bounded elsewhere, and costs no future and no task.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from leaseq.telemetry import burst

T = TypeVar("T")
R = TypeVar("R")


class Gatherer(Generic[T, R]):
    """Gathers items into calls of `write`, which answers each item of its batch, in order.

    `write` may put an exception in place of an answer: it is raised to that item's caller alone. If `write` itself
    raises, every caller of that batch gets the error.
    """

    def __init__(
        self,
        write: Callable[[Sequence[T]], Awaitable[Sequence[R | BaseException]]],
        *,
        batch_size: int,
        capacity: int,
    ) -> None:
        self._write = write
        self._batch_size = batch_size
        self._capacity = asyncio.Semaphore(capacity)
        self._waiting: deque[tuple[T, Callable[[R | BaseException], None]]] = deque()
        self._writer: asyncio.Task[None] | None = None

    async def add(self, item: T) -> R:
        """Hand in one item and wait for its answer. A caller that goes away does not take its item back."""
        async with self._capacity:
            future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
            self.put(item, lambda answer: _answer(future, answer))
            return await future

    def put(self, item: T, answer: Callable[[R | BaseException], None]) -> None:
        """Hand in one item; `answer`, which must not raise, is called with what became of it."""
        self._waiting.append((item, answer))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._drain())

    async def aclose(self) -> None:
        """Wait until everything handed in has been written."""
        while self._writer is not None and not self._writer.done():
            await asyncio.wait([self._writer])

    async def _drain(self) -> None:
        while self._waiting:
            size = min(self._batch_size, len(self._waiting))
            batch = [self._waiting.popleft() for _ in range(size)]
            answers: list[R | BaseException] = []
            try:
                answers += await self._write([item for item, _ in batch])
                if len(answers) != size:
                    raise ValueError(f"{len(answers)} answers for {size} items")
            except BaseException as error:
                answers += [error] * (size - len(answers))
                if not isinstance(error, Exception):
                    raise
            finally:
                with burst():
                    for (_, answer), said in zip(batch, answers, strict=False):
                        answer(said)


def _answer(future: asyncio.Future[R], answer: R | BaseException) -> None:
    if future.done():
        return
    if isinstance(answer, BaseException):
        future.set_exception(answer)
        # Retrieved here, because a caller that went away never will: its loss is not news for the log.
        future.exception()
    else:
        future.set_result(answer)


__all__ = ["Gatherer"]
