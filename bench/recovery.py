"""Recovery after a kill, by the ledger: its victims, and when they all run again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime

import psutil
from msgspec import Struct

from bench.processes import BenchFailed, Service
from bench.stage import Stage
from bench.supply import POLL_SECONDS, until

MILLISECONDS = 1e3
PATIENCE_SECONDS = 60.0
# A child that dies sooner is braked by its supervisor, as one that cannot start would be.
GROWN_UP_SECONDS = 2.5


class Child(Struct, frozen=True):
    """One process of a worker: its worker id, its pid."""

    worker_id: str
    pid: int


async def grown_children(worker: Service) -> list[Child]:
    """The processes of a worker that live, once the youngest of them is old enough to be killed."""
    dead = {said["pid_of_child"] for said in worker.heard("child.died")}
    started = [
        Child(said["worker_id"], said["pid_of_child"]) for said in worker.heard("child.started")
    ]
    children = [child for child in started if child.pid not in dead]
    youngest = max(psutil.Process(child.pid).create_time() for child in children)
    await asyncio.sleep(max(youngest + GROWN_UP_SECONDS - time.time(), 0))
    return children


async def restarted(
    stage: Stage, task_ids: Sequence[str], killed_at: datetime, *, every: float = POLL_SECONDS
) -> float:
    """Seconds from the kill to the start of the last task's second attempt. Raises `BenchFailed`.

    The ledger is asked `every` so many seconds; what it answers does not depend on that.
    """
    if not task_ids:
        raise BenchFailed("the killed process ran no task")

    async def all_restarted() -> bool:
        return (await stage.witness.restarts(task_ids, killed_at)).restarted == len(task_ids)

    await until(
        all_restarted, what="the lost tasks run again", seconds=PATIENCE_SECONDS, every=every
    )
    found = await stage.witness.restarts(task_ids, killed_at)
    if found.most_attempts != 2:
        raise BenchFailed(f"a lost task was started {found.most_attempts} times")
    return found.seconds
