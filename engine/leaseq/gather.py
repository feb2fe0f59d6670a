"""Batch single calls.

While one batch is being written, arriving items form the next one. A lone item on an idle gatherer
is written immediately. With a `BatchPause` a stream of single items is written in larger batches.
Callers that await an answer are limited: while `capacity` items wait, further callers wait, too
(backpressure instead of growth). Callers that pass a function for the answer are limited elsewhere,
and cost no future and no task.

With `owner_of`, each owner has a capacity of its own, and when more than one batch waits, the
owners share each batch equally. So an owner waits for about two batches, however many items
another one has handed in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from functools import partial
from typing import Generic, TypeVar

from leaseq.batch_pause import BatchPause
from leaseq.fair_turns import FairLine
from leaseq.observability.telemetry import burst

T = TypeVar("T")
R = TypeVar("R")
Entry = tuple[T, Callable[[R | BaseException], None]]


class Gatherer(Generic[T, R]):
    """Gathers items into calls of `write`, which returns one answer for each item, in order.

    `write` may return an exception in place of an answer. It is raised to that item's caller only.
    If `write` itself raises, every caller of that batch gets the error.
    """

    def __init__(
        self,
        write: Callable[[Sequence[T]], Awaitable[Sequence[R | BaseException]]],
        *,
        batch_size: int,
        capacity: int,
        pause: BatchPause | None = None,
        owner_of: Callable[[T], Hashable] | None = None,
    ) -> None:
        self._write = write
        self._pause = pause
        self._batch_size = batch_size
        self._capacity = capacity
        self._owner_of = owner_of
        self._limits: dict[Hashable, asyncio.Semaphore] = {}
        self._waiting: list[Entry[T, R]] = []
        # The items that more than one batch left waiting, by owner. They are older than `_waiting`.
        self._line: FairLine[Entry[T, R]] = FairLine()
        self._writer: asyncio.Task[None] | None = None

    async def add(self, item: T) -> R:
        """Hand in one item and wait for its answer. A cancelled caller does not withdraw its
        item."""
        owner = None if self._owner_of is None else self._owner_of(item)
        limit = self._limits.get(owner)
        if limit is None:
            limit = self._limits[owner] = asyncio.Semaphore(self._capacity)
        await limit.acquire()
        try:
            future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
            self.put(item, partial(_answer, future))
            return await future
        finally:
            limit.release()

    def put(self, item: T, answer: Callable[[R | BaseException], None]) -> None:
        """Hand in one item. `answer`, which must not raise, is called with the result or the
        exception."""
        self._waiting.append((item, answer))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._drain())

    async def aclose(self) -> None:
        """Wait until everything handed in has been written."""
        while self._writer is not None and not self._writer.done():
            await asyncio.wait([self._writer])

    async def _drain(self) -> None:
        while self._waiting or self._line:
            if self._pause is not None:
                await self._pause.fill(len(self._waiting))
            batch = self._next_batch()
            size = len(batch)
            if self._pause is not None:
                self._pause.begin(size)
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
                    for (_, answer), value in zip(batch, answers, strict=False):
                        answer(value)

    def _next_batch(self) -> list[Entry[T, R]]:
        if self._owner_of is None or (len(self._waiting) <= self._batch_size and not self._line):
            batch = self._waiting[: self._batch_size]
            del self._waiting[: self._batch_size]
            return batch
        for entry in self._waiting:
            self._line.put(self._owner_of(entry[0]), entry)
        self._waiting.clear()
        return self._line.take(self._batch_size)


def _answer(future: asyncio.Future[R], answer: R | BaseException) -> None:
    if future.done():
        return
    if isinstance(answer, BaseException):
        future.set_exception(answer)
        # Retrieved here, because a cancelled caller never does, and asyncio would log the exception
        # as lost.
        future.exception()
    else:
        future.set_result(answer)


__all__ = ["Gatherer"]
