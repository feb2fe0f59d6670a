"""How fast are waiting tasks worked off? By one worker with one or two processes, from the first ending to the last."""

from __future__ import annotations

from bench.cost import Meter
from bench.figures import Reading
from bench.scale import Scale
from bench.stage import set_up
from bench.supply import all_ended, require_single_runs, supply


async def drain(scale: Scale, *, processes: int) -> list[Reading]:
    """Submit everything, then start the worker. CPU is counted from the moment when all its processes take tasks."""
    name = f"drain, {processes} process{'es' if processes > 1 else ''}"
    count = scale.drain_tasks
    async with set_up(scale.settings) as stage:
        await supply(stage, count)
        worker = await stage.worker(processes=processes)
        meter = Meter({"worker": worker.pid, "Postgres": stage.postgres_pid, "Valkey": stage.valkey_pid})
        begin = await stage.witness.now()
        await all_ended(stage)
        meter.stop()
        await require_single_runs(stage, count)
        endings = await stage.witness.endings()
        metered = await stage.witness.ended_between(begin, await stage.witness.now())
    return [
        Reading(name, "tasks/s", endings.rate),
        Reading(f"{name}: the middle 80 %", "tasks/s", 0.8 * count / endings.middle_seconds),
        *meter.per_task(name, metered),
    ]
