"""How fast is what is past its retention deleted, and who has to wait meanwhile?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from time import perf_counter

from bench.figures import Reading, percentiles
from bench.measures.latency import Probe
from bench.processes import Service
from bench.scale import Scale
from bench.stage import Stage, set_up
from bench.supply import ASIDE, until

EVERY_SECONDS = 0.05
BEFORE_SECONDS = 4.0
PATIENCE_SECONDS = 900.0
# Of what is old, tasks are past the first, and keys of tasks that are gone past the second.
SETTINGS = {"task_retention_seconds": "3600", "prune_interval_seconds": "4"}


async def pruning(scale: Scale) -> list[Reading]:
    """`scale.old` finished tasks with their keys, and as many expired keys; a task comes every 50 ms to an idle queue."""
    name = f"{scale.old:,} tasks and keys past retention"
    async with set_up(SETTINGS | scale.settings) as stage:
        await stage.worker(queues=[ASIDE])
        reaper = await stage.reaper()
        before = await _latencies(stage, asyncio.sleep(BEFORE_SECONDS))
        await stage.witness.fill_old(scale.old)
        began = perf_counter()
        during = await _latencies(stage, _pruned(reaper, scale.old))
        seconds = perf_counter() - began
    return [
        Reading(f"{name}: pruned", "rows/s", 2 * scale.old / seconds),
        *percentiles(f"{name}: latency before:", before, unit="ms"),
        *percentiles(f"{name}: latency meanwhile:", during, unit="ms"),
    ]


async def _latencies(stage: Stage, while_waiting: Awaitable[None]) -> list[float]:
    """Milliseconds of the other queue for as long as something takes."""
    probe = Probe(stage, queue=ASIDE, every_seconds=EVERY_SECONDS)
    async with asyncio.TaskGroup() as group:
        group.create_task(probe.run())
        try:
            await while_waiting
        finally:
            probe.stopping = True
    return await probe.taken()


async def _pruned(reaper: Service, count: int) -> None:
    """Until the reaper has said that so many tasks and keys are gone."""

    async def all_gone() -> bool:
        said = reaper.heard("task.pruned")
        return all(sum(line[what] for line in said) >= count for what in ("count", "keys"))

    await until(all_gone, what="what is old is pruned", seconds=PATIENCE_SECONDS)
