"""The speed of pruning, and the wait of other work meanwhile."""

from __future__ import annotations

import asyncio
from time import perf_counter

from bench.figures import Reading, percentiles
from bench.measures.latency import probing
from bench.processes import Service
from bench.scale import Scale
from bench.stage import set_up
from bench.supply import ASIDE, until

EVERY_SECONDS = 0.05
BEFORE_SECONDS = 4.0
PATIENCE_SECONDS = 900.0
# Old tasks are past the first retention, and keys of deleted tasks past the second.
SETTINGS = {"task_retention_seconds": "3600", "prune_interval_seconds": "4"}


async def pruning(scale: Scale) -> list[Reading]:
    """`scale.old` finished tasks with their keys, and as many expired keys; a task comes every 50
    ms to an idle queue."""
    name = f"{scale.old:,} tasks and keys past retention"
    async with set_up(SETTINGS | scale.settings) as stage:
        await stage.worker(queues=[ASIDE])
        reaper = await stage.reaper()
        async with probing(stage, queue=ASIDE, every_seconds=EVERY_SECONDS) as before:
            await asyncio.sleep(BEFORE_SECONDS)
        await stage.witness.fill_old(scale.old)
        began = perf_counter()
        async with probing(stage, queue=ASIDE, every_seconds=EVERY_SECONDS) as during:
            await _pruned(reaper, scale.old)
        seconds = perf_counter() - began
        taken_before, taken_during = await before.taken(), await during.taken()
    return [
        Reading(f"{name}: pruned", "rows/s", 2 * scale.old / seconds),
        *percentiles(f"{name}: latency before:", taken_before, unit="ms"),
        *percentiles(f"{name}: latency meanwhile:", taken_during, unit="ms"),
    ]


async def _pruned(reaper: Service, count: int) -> None:
    """Wait until the reaper has reported so many deleted tasks and keys."""

    async def all_gone() -> bool:
        said = reaper.heard("task.pruned")
        return all(sum(line[what] for line in said) >= count for what in ("count", "keys"))

    await until(all_gone, what="old rows are pruned", seconds=PATIENCE_SECONDS)
