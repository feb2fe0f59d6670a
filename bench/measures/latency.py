"""How soon does a task start on an idle system? From the call that submits it to the first line of its handler."""

from __future__ import annotations

import asyncio
import time

from bench.figures import Reading, percentiles
from bench.processes import BenchFailed
from bench.scale import Scale
from bench.stage import Stage, set_up
from bench.supply import all_ended, submission

EVERY_SECONDS = 0.02
WARM_UP_TASKS = 25
MILLISECONDS = 1e-6  # of a nanosecond


async def latency(scale: Scale) -> list[Reading]:
    """One task each 20 ms. Both moments are taken from the machine's monotonic clock; the handler returns the difference."""
    count = WARM_UP_TASKS + scale.latency_tasks
    async with set_up(scale.settings) as stage:
        await stage.worker()
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                await asyncio.sleep(began + number * EVERY_SECONDS - loop.time())
                group.create_task(_submit(stage))
        await all_ended(stage)
        taken = await stage.witness.results("stamp")
    if len(taken) != count:
        raise BenchFailed(f"of {count} tasks {len(taken)} succeeded")
    return percentiles("idle latency", [ns * MILLISECONDS for ns in taken[WARM_UP_TASKS:]], unit="ms")


async def _submit(stage: Stage) -> None:
    await stage.engine.submit(submission(stage.config, "stamp", sent_ns=time.monotonic_ns()))
