"""Many tasks that become due in one second: their drain, and the wait of others."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from bench.figures import Reading, percentiles
from bench.measures.latency import Probe, probing
from bench.processes import BenchFailed
from bench.scale import Scale
from bench.stage import Stage, set_up
from bench.supply import ASIDE, QUEUE, all_ended, require_single_runs, until

EVERY_SECONDS = 0.05
BEFORE_SECONDS = 2.0
# A generous time to fill the tables, and the rest of the preparation.
FILLED_PER_SECOND = 15_000
READY_SECONDS = 4.0
ASK_SECONDS = 1.0
PATIENCE_SECONDS = 900.0


async def due(scale: Scale) -> list[Reading]:
    """`scale.due` tasks of one second, a reaper, and a worker that serves another queue too: there
    a task comes every 50 ms."""
    name = f"{scale.due:,} due together"
    async with set_up(scale.settings) as stage:
        await stage.reaper()
        await stage.worker(queues=[QUEUE, ASIDE])
        due_at = await stage.witness.now() + timedelta(
            seconds=READY_SECONDS + scale.due / FILLED_PER_SECOND
        )
        await stage.witness.fill_scheduled(scale.due, due_at)
        before = await _probe_until(stage, due_at)
        during, last_at = await _probe_while_drained(stage)
        await require_single_runs(stage, scale.due)
    return [
        Reading(f"{name}: drained", "tasks/s", scale.due / (last_at - due_at).total_seconds()),
        *percentiles(f"{name}: latency of another queue before:", before, unit="ms"),
        *percentiles(f"{name}: latency of another queue meanwhile:", during, unit="ms"),
    ]


async def _probe_until(stage: Stage, due_at: datetime) -> list[float]:
    """Milliseconds of the other queue in the last moments before. Raises `BenchFailed` if it is too
    late for that."""
    left = (due_at - await stage.witness.now()).total_seconds() - BEFORE_SECONDS
    if left < 0:
        raise BenchFailed(f"the tables were filled {-left:.0f} s too late; ask for fewer tasks")
    await asyncio.sleep(left)
    probe = Probe(stage, queue=ASIDE, every_seconds=EVERY_SECONDS)
    await probe.run(int(BEFORE_SECONDS / EVERY_SECONDS))
    return await probe.taken()


async def _probe_while_drained(stage: Stage) -> tuple[list[float], datetime]:
    """Milliseconds of the other queue until all have ended, and when the last of them did."""

    async def all_promoted() -> bool:
        return not await stage.witness.anything_scheduled()

    async with probing(stage, queue=ASIDE, every_seconds=EVERY_SECONDS) as probe:
        await until(
            all_promoted,
            what="all of them are promoted",
            seconds=PATIENCE_SECONDS,
            every=ASK_SECONDS,
        )
        await all_ended(stage, every=ASK_SECONDS)
    last_at = (await stage.witness.endings()).last_at
    if last_at is None:
        raise BenchFailed("none of the tasks that were due has ended")
    return await probe.taken(), last_at
