"""When do the tasks of whoever was killed run again, all of them? Read from the ledger, by its own clock."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from bench.processes import BenchFailed
from bench.stage import Stage
from bench.supply import until

MILLISECONDS = 1e3
PATIENCE_SECONDS = 60.0


async def restarted(stage: Stage, task_ids: Sequence[str], killed_at: datetime) -> float:
    """Seconds from the kill to the start of the last task's second attempt. Raises `BenchFailed`."""
    if not task_ids:
        raise BenchFailed("whoever was killed ran nothing")

    async def all_restarted() -> bool:
        return (await stage.witness.restarts(task_ids, killed_at)).restarted == len(task_ids)

    await until(all_restarted, what="the lost tasks run again", seconds=PATIENCE_SECONDS)
    found = await stage.witness.restarts(task_ids, killed_at)
    if found.most_attempts != 2:
        raise BenchFailed(f"a lost task was started {found.most_attempts} times")
    return found.seconds
