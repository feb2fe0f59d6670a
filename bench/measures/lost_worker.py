"""Recovery after the loss of a host, when the lease has to expire."""

from __future__ import annotations

import asyncio
import random

from bench.figures import Reading, each_kill
from bench.processes import BenchFailed, Service
from bench.recovery import MILLISECONDS, restarted
from bench.scale import Scale
from bench.stage import Stage, set_up
from bench.supply import all_ended, submission

ROUNDS = 8
TASKS_EACH = 10
ENOUGH = 5
NAP_SECONDS = 3.0
POLL_SECONDS = 0.02


async def lost_worker(
    scale: Scale, *, lease_seconds: float, heartbeat_seconds: float
) -> list[Reading]:
    """SIGKILL to supervisor and child together, `scale.lost_workers` times; another worker and a
    reaper live on."""
    times = {"lease_seconds": str(lease_seconds), "heartbeat_seconds": str(heartbeat_seconds)}
    taken = []
    async with set_up(times | scale.settings) as stage:
        await stage.reaper()
        await stage.worker()
        for _ in range(scale.lost_workers):
            victim = await stage.worker()
            # Between which two heartbeats it dies is a matter of chance.
            await asyncio.sleep(random.uniform(1, 2) * heartbeat_seconds)
            taken.append(await _lose(stage, victim) * MILLISECONDS)
    return each_kill(
        f"worker lost, lease of {lease_seconds:g} s, {scale.lost_workers} kills:", taken
    )


async def _lose(stage: Stage, victim: Service) -> float:
    """Seconds from the kill until all tasks of the killed worker run again."""
    worker_id = victim.heard("worker.opened")[0]["worker_id"]
    held = await _give(stage, worker_id)
    killed_at = await stage.witness.now()
    victim.kill_whole()
    seconds = await restarted(stage, held, killed_at)
    await all_ended(stage)
    return seconds


async def _give(stage: Stage, worker_id: str) -> list[str]:
    """Submit until this worker, one of two, has its share; returns that."""
    for _ in range(ROUNDS):
        for _ in range(TASKS_EACH):
            await stage.engine.submit(submission(stage.config, "nap", seconds=NAP_SECONDS))
        await asyncio.sleep(POLL_SECONDS)
        held = await stage.witness.held(worker_id)
        if len(held) >= ENOUGH:
            return held
    raise BenchFailed(f"one of two workers got {len(held)} of {ROUNDS * TASKS_EACH} tasks")
