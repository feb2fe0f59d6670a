"""A handler that waits for nothing costs the event loop nothing."""

from __future__ import annotations

import asyncio
import sys
from contextvars import ContextVar
from typing import Any

import pytest

from leaseq.worker.attempt.run_handler import start_task

WHO: ContextVar[str] = ContextVar("who", default="nobody")


async def quick() -> int:
    return 1


async def test_waiting_coroutine_is_an_ordinary_task() -> None:
    go = asyncio.Event()

    async def slow() -> str:
        await go.wait()
        task = asyncio.current_task()
        assert task is not None
        return task.get_name()

    task = start_task(asyncio.get_running_loop(), slow())
    assert not task.done()
    go.set()
    assert await task == task.get_name()


@pytest.mark.skipif(
    sys.version_info < (3, 12),
    reason="this Python starts every task with the next turn of the loop",
)
async def test_coroutine_without_a_wait_is_done_immediately() -> None:
    assert start_task(asyncio.get_running_loop(), quick()).result() == 1


async def test_eager_task_sees_a_copy_of_the_context() -> None:
    async def claim() -> str:
        before = WHO.get()
        WHO.set("the handler")
        return before

    WHO.set("the worker")
    assert await start_task(asyncio.get_running_loop(), claim()) == "the worker"
    assert WHO.get() == "the worker"


async def test_a_task_factory_is_asked() -> None:
    loop = asyncio.get_running_loop()
    made: list[Any] = []

    def factory(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        made.append(work)
        return asyncio.Task(work, loop=loop, **options)

    loop.set_task_factory(factory)
    try:
        assert await start_task(loop, quick()) == 1
    finally:
        loop.set_task_factory(None)
    assert len(made) == 1
