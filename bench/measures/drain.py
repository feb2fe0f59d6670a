"""The speed at which one worker drains waiting tasks.

It has one or two processes. The time runs from the first ending to the last.
"""

from __future__ import annotations

from msgspec import Struct

from bench.cost import Meter
from bench.figures import Reading
from bench.processes import BenchFailed
from bench.scale import Scale
from bench.stage import set_up
from bench.supply import all_ended, require_single_runs, supply
from bench.witness import Endings


class Drained(Struct, frozen=True):
    """One drain: how its tasks ended, what it cost, and how many tasks were counted for that."""

    name: str
    endings: Endings
    meter: Meter
    metered: int


async def drain(scale: Scale, *, processes: int) -> list[Reading]:
    """The rate, and what it costs."""
    drained = await play_drain(scale, processes=processes)
    endings = drained.endings
    return [
        Reading(drained.name, "tasks/s", endings.rate),
        Reading(
            f"{drained.name}: the middle 80 %",
            "tasks/s",
            0.8 * endings.ended / endings.middle_seconds,
        ),
        *drained.meter.per_task(drained.name, drained.metered),
    ]


async def play_drain(scale: Scale, *, processes: int) -> Drained:
    """Submit everything, then start the worker. CPU is counted from the moment when all its
    processes take tasks."""
    count = scale.drain_tasks
    async with set_up(scale.settings) as stage:
        await supply(stage, count)
        # a lane holds a window; the rest of the backlog comes from the ledger
        reaper = await stage.reaper()
        worker = await stage.worker(processes=processes)
        pids = {
            "worker": worker.pid,
            "reaper": reaper.pid,
            "Postgres": stage.postgres_pid,
            "Valkey": stage.valkey_pid,
        }
        meter = Meter(pids)
        begin = await stage.witness.now()
        await all_ended(stage)
        meter.stop()
        await require_single_runs(stage, count)
        metered = await stage.witness.ended_between(begin, await stage.witness.now())
        if not metered:
            raise BenchFailed(
                f"all {count} tasks ended before every process of the worker took tasks: measure with more tasks"
            )
        return Drained(
            name=f"drain, {processes} process{'es' if processes > 1 else ''}",
            endings=await stage.witness.endings(),
            meter=meter,
            metered=metered,
        )
