"""Memory of Valkey during a backlog, and the speed of its drain."""

from __future__ import annotations

import asyncio
from time import perf_counter

from bench.figures import Reading
from bench.scale import Scale
from bench.stage import Stage, set_up
from bench.supply import QUEUE, delivered, record, single_runs_since

PARTS = 10
MIB = 1_048_576


async def backlog(scale: Scale) -> list[Reading]:
    """Submit `scale.backlog` tasks with a reaper and no worker, look at Valkey after every tenth,
    then drain for some seconds."""
    name = f"backlog of {scale.backlog:,}"
    part = max(scale.backlog // PARTS, 1)
    memory, listed, rates = [], [], []
    async with set_up(scale.settings) as stage:
        await stage.reaper()
        before = await stage.lookout.memory()
        for _ in range(PARTS):
            began = perf_counter()
            await record(stage, part)
            rates.append(part / (perf_counter() - began))
            await delivered(stage)
            memory.append(await stage.lookout.memory() - before)
            listed.append(await stage.lookout.listed(QUEUE))
        drained = await _drain(stage, scale.backlog_seconds)
    shares = [f"{name}, at {100 * number // PARTS} %" for number in range(1, PARTS + 1)]
    return [
        Reading(
            f"{name}: Valkey memory beyond the first tenth",
            "bytes/task",
            (memory[-1] - memory[0]) / part / (PARTS - 1),
        ),
        Reading(f"{name}: submit, first tenth", "tasks/s", rates[0]),
        Reading(f"{name}: submit, last tenth", "tasks/s", rates[-1]),
        Reading(f"{name}: drain of its beginning", "tasks/s", drained),
        *(
            Reading(f"{share}: Valkey memory", "MiB", used / MIB)
            for share, used in zip(shares, memory, strict=True)
        ),
        *(
            Reading(f"{share}: in the lists", "tasks", length)
            for share, length in zip(shares, listed, strict=True)
        ),
    ]


async def _drain(stage: Stage, seconds: float) -> float:
    """Tasks per second of one worker that works for some seconds, from its first ending to its
    last."""
    begin = await stage.witness.now()
    worker = await stage.worker()
    await asyncio.sleep(seconds)
    worker.stop()
    return (await single_runs_since(stage, begin)).rate
