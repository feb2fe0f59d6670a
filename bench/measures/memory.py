"""How much memory does a worker take, idle and with every slot busy?"""

from __future__ import annotations

import asyncio

import psutil

from bench.figures import Reading
from bench.processes import Service
from bench.scale import Scale
from bench.stage import set_up
from bench.supply import all_ended, submission, until

SETTLE_SECONDS = 1.0
NAP_SECONDS = 3.0
MIB = 1_048_576


async def memory(scale: Scale) -> list[Reading]:
    """Resident memory (RSS) of the supervisor and of its one child. What both share is counted in both."""
    async with set_up(scale.settings) as stage:
        slots = stage.config.concurrency
        worker = await stage.worker()
        worker_id = worker.heard("worker.opened")[0]["worker_id"]
        await asyncio.sleep(SETTLE_SECONDS)
        idle = _resident(worker)

        async def all_busy() -> bool:
            return len(await stage.witness.held(worker_id)) == slots

        await stage.engine.submit_many([submission(stage.config, "nap", seconds=NAP_SECONDS) for _ in range(slots)])
        await until(all_busy, what="every slot is busy", seconds=NAP_SECONDS)
        busy = _resident(worker)
        await all_ended(stage)
    return [
        Reading("memory: supervisor", "MiB", idle[0]),
        Reading("memory: child, idle", "MiB", idle[1]),
        Reading(f"memory: child, {slots} slots busy", "MiB", busy[1]),
    ]


def _resident(worker: Service) -> tuple[float, float]:
    """MiB of the supervisor and of its child."""
    supervisor = psutil.Process(worker.pid)
    (child,) = supervisor.children()
    return supervisor.memory_info().rss / MIB, child.memory_info().rss / MIB
