"""How soon do the tasks of a killed worker process run again, on a host that lives? The supervisor sees to it."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import psutil
from msgspec import Struct

from bench.figures import Reading, percentiles
from bench.processes import Service
from bench.recovery import MILLISECONDS, restarted
from bench.scale import Scale
from bench.stage import Stage, set_up
from bench.supply import all_ended, submission, until

TASKS = 20
NAP_SECONDS = 1.5
# A child that dies sooner is braked by its supervisor, as one that cannot start would be.
GROWN_UP_SECONDS = 2.5


class Child(Struct, frozen=True):
    """One process of the worker: its incarnation, its pid."""

    worker_id: str
    pid: int


async def killed_child(scale: Scale, *, processes: int) -> list[Reading]:
    """SIGKILL to one process, `scale.kills` times, each time with fresh tasks."""
    name = f"process killed, {'the only one' if processes == 1 else f'one of {processes}'}, {scale.kills} kills:"
    taken = []
    async with set_up(scale.settings) as stage:
        worker = await stage.worker(processes=processes)
        for number in range(scale.kills):
            await worker.hear("worker.opened", count=processes + number)
            taken.append(await _kill_one(stage, worker) * MILLISECONDS)
    return percentiles(name, taken, unit="ms")


async def _kill_one(stage: Stage, worker: Service) -> float:
    """Seconds from the kill until all tasks of the killed process run again."""
    children = _children(worker)
    youngest = max(psutil.Process(child.pid).create_time() for child in children)
    await asyncio.sleep(max(youngest + GROWN_UP_SECONDS - time.time(), 0))
    await asyncio.gather(*(stage.engine.submit(submission(stage.config, "nap", seconds=NAP_SECONDS)) for _ in range(TASKS)))
    held: dict[str, list[str]] = {}

    async def all_run() -> bool:
        held.update({child.worker_id: await stage.witness.held(child.worker_id) for child in children})
        return sum(len(tasks) for tasks in held.values()) == TASKS

    await until(all_run, what=f"all {TASKS} tasks run", seconds=NAP_SECONDS)
    victim = max(children, key=lambda child: len(held[child.worker_id]))
    killed_at = await stage.witness.now()
    os.kill(victim.pid, signal.SIGKILL)
    seconds = await restarted(stage, held[victim.worker_id], killed_at)
    await all_ended(stage)
    return seconds


def _children(worker: Service) -> list[Child]:
    dead = {said["pid_of_child"] for said in worker.heard("child.died")}
    started = [Child(said["worker_id"], said["pid_of_child"]) for said in worker.heard("child.started")]
    return [child for child in started if child.pid not in dead]
