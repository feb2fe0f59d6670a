"""The event loop that a worker shares with its handlers stays usable."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from leaseq.worker.process.shared_loop import SharedLoop


@pytest.fixture
def loop() -> Iterator[SharedLoop]:
    made = SharedLoop(1)
    yield made
    made.close()


async def thread_name() -> str:
    return (await asyncio.to_thread(threading.current_thread)).name[:4]


async def run_task(work: Coroutine[Any, Any, Any]) -> Any:
    return await asyncio.create_task(work)


def test_a_pool_that_was_set_serves_what_is_started_afterwards(loop: SharedLoop) -> None:
    async def app() -> list[str]:
        with ThreadPoolExecutor(1, "apps") as pool:
            loop.set_default_executor(pool)
            return [await thread_name(), await run_task(thread_name())]

    async def main() -> list[str]:
        return [*await run_task(app()), await thread_name()]

    assert loop.run_until_complete(main()) == ["apps", "apps", "to_t"]


def test_a_pool_that_was_shut_down_is_no_longer_used(loop: SharedLoop) -> None:
    async def main() -> list[str]:
        with ThreadPoolExecutor(1, "apps") as pool:
            loop.set_default_executor(pool)
        before = await thread_name()
        await loop.shutdown_default_executor()
        return [before, await thread_name(), await run_task(thread_name())]

    assert loop.run_until_complete(main()) == ["to_t"] * 3


def test_threads_whose_callers_were_cancelled_are_counted_until_they_return(
    loop: SharedLoop,
) -> None:
    release = threading.Event()

    async def main() -> list[int]:
        counts = []
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.to_thread(release.wait), 0.01)
        counts.append(loop.abandoned_threads)
        release.set()
        while loop.abandoned_threads:  # noqa: ASYNC110 (no event tells of it)
            await asyncio.sleep(0.001)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(1), 0.01)
        return [*counts, loop.abandoned_threads]

    assert loop.run_until_complete(main()) == [1, 0]


def test_a_task_factory_makes_the_tasks_of_the_code_that_set_it(loop: SharedLoop) -> None:
    made: list[str] = []

    def factory(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        made.append(work.__name__)
        return asyncio.Task(work, loop=loop, **options)

    async def app() -> None:
        loop.set_task_factory(factory)
        assert loop.get_task_factory() is factory
        await run_task(thread_name())

    async def other() -> None:
        """Not made by the factory."""

    async def main() -> None:
        await run_task(app())
        await run_task(other())
        assert loop.get_task_factory() is None

    loop.run_until_complete(main())
    assert made == ["thread_name"]
    with pytest.raises(TypeError, match="callable"):
        loop.set_task_factory(1)  # type: ignore[arg-type]
