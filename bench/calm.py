"""Wait until the servers have finished the start-up work of a run."""

from __future__ import annotations

import asyncio

from bench.cost import cpu_seconds
from bench.processes import BenchFailed
from bench.stage import Stage

# Of one processor. A reaper's passes take some of it at any time.
LITTLE = 0.35
PATIENCE_SECONDS = 600


async def calm(stage: Stage, *, seconds: int) -> None:
    """Wait until both servers have had little to do for so many seconds on end. Raises
    `BenchFailed` if that does not come."""
    calm_for = waited = 0
    before = _used(stage)
    while calm_for < seconds:
        if waited == PATIENCE_SECONDS:
            raise BenchFailed(f"the servers were still busy after {PATIENCE_SECONDS} s")
        await asyncio.sleep(1)
        now = _used(stage)
        calm_for = calm_for + 1 if now - before < LITTLE else 0
        before, waited = now, waited + 1


def _used(stage: Stage) -> float:
    return cpu_seconds(stage.postgres_pid) + cpu_seconds(stage.valkey_pid)
