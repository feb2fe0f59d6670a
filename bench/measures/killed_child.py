"""Recovery after the kill of a worker process on a living host, by its supervisor."""

from __future__ import annotations

import asyncio
import os
import signal

from bench.figures import Reading, each_kill
from bench.processes import Service
from bench.recovery import MILLISECONDS, grown_children, restarted
from bench.scale import Scale
from bench.stage import Stage, set_up
from bench.supply import all_ended, submission, until

TASKS = 20
NAP_SECONDS = 1.5


async def killed_child(scale: Scale, *, processes: int) -> list[Reading]:
    """SIGKILL to one process, `scale.kills` times, each time with fresh tasks."""
    name = f"process killed, {'the only one' if processes == 1 else f'one of {processes}'}, {scale.kills} kills:"
    taken = []
    async with set_up(scale.settings) as stage:
        worker = await stage.worker(processes=processes)
        for number in range(scale.kills):
            await worker.hear("worker.opened", count=processes + number)
            taken.append(await _kill_one(stage, worker) * MILLISECONDS)
    return each_kill(name, taken)


async def _kill_one(stage: Stage, worker: Service) -> float:
    """Seconds from the kill until all tasks of the killed process run again."""
    children = await grown_children(worker)
    await asyncio.gather(
        *(
            stage.engine.submit(submission(stage.config, "nap", seconds=NAP_SECONDS))
            for _ in range(TASKS)
        )
    )
    held: dict[str, list[str]] = {}

    async def all_run() -> bool:
        held.update(
            {child.worker_id: await stage.witness.held(child.worker_id) for child in children}
        )
        return sum(len(tasks) for tasks in held.values()) == TASKS

    await until(all_run, what=f"all {TASKS} tasks run", seconds=NAP_SECONDS)
    victim = max(children, key=lambda child: len(held[child.worker_id]))
    killed_at = await stage.witness.now()
    os.kill(victim.pid, signal.SIGKILL)
    seconds = await restarted(stage, held[victim.worker_id], killed_at)
    await all_ended(stage)
    return seconds
