"""Latency on an idle system, from the submission to the first line of the handler."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.figures import Reading, percentiles
from bench.scale import Scale
from bench.stage import Stage, set_up
from bench.supply import QUEUE, submission, until

WARM_UP_TASKS = 25
PATIENCE_SECONDS = 60.0
MILLISECONDS = 1e-6  # of a nanosecond


async def latency(scale: Scale) -> list[Reading]:
    """One task each 20 ms."""
    async with set_up(scale.settings) as stage:
        await stage.worker()
        return percentiles(
            "idle latency", await idle_latency(stage, scale.latency_tasks), unit="ms"
        )


async def idle_latency(stage: Stage, count: int, *, queue: str = QUEUE) -> list[float]:
    """Milliseconds of `count` tasks, after some to warm up, on a queue that is idle."""
    probe = Probe(stage, queue=queue, every_seconds=0.02)
    await probe.run(count + WARM_UP_TASKS)
    return (await probe.taken())[WARM_UP_TASKS:]


@asynccontextmanager
async def probing(stage: Stage, *, queue: str, every_seconds: float) -> AsyncIterator[Probe]:
    """A probe that submits for as long as the block lasts."""
    probe = Probe(stage, queue=queue, every_seconds=every_seconds)
    async with asyncio.TaskGroup() as group:
        group.create_task(probe.run())
        try:
            yield probe
        finally:
            probe.stopping = True


class Probe:
    """Submits one task after the other, at fixed moments, independent of the tasks before, and asks
    how long each waited.

    Both moments are taken from the machine's monotonic clock: the handler returns the difference.
    """

    def __init__(self, stage: Stage, *, queue: str, every_seconds: float) -> None:
        self.stopping = False
        self._stage = stage
        self._queue = queue
        self._every = every_seconds
        self._task_ids: list[str] = []

    async def run(self, count: int | None = None) -> None:
        """Submit `count` tasks, or until stopped. Returns when the last one is recorded."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        number = 0
        async with asyncio.TaskGroup() as group:
            while number != count and not self.stopping:
                await asyncio.sleep(began + number * self._every - loop.time())
                group.create_task(self._submit())
                number += 1

    async def taken(self) -> list[float]:
        """Milliseconds from call to handler, once every task has ended. Raises `BenchFailed` if one
        does not succeed."""
        taken: list[int] = []

        async def all_succeeded() -> bool:
            taken[:] = await self._stage.witness.results(self._task_ids)
            return len(taken) == len(self._task_ids)

        await until(
            all_succeeded, what="every task that is timed has succeeded", seconds=PATIENCE_SECONDS
        )
        return [nanoseconds * MILLISECONDS for nanoseconds in taken]

    async def _submit(self) -> None:
        task = submission(
            self._stage.config, "stamp", queue=self._queue, sent_ns=time.monotonic_ns()
        )
        self._task_ids.append(task.task_id)
        await self._stage.engine.submit(task)
