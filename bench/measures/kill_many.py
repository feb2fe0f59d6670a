"""Recovery after the kill of a process with thousands of tasks; late heartbeats.

The host lives, so the supervisor takes the tasks back, in batches, and renews leases meanwhile;
another worker stands by, with a queue of its own. Whether a heartbeat came late is read from the
deadlines of the leases, for every live worker.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

from bench.figures import Reading, each_kill
from bench.heartbeats import Heartbeats, heartbeats
from bench.processes import Service
from bench.recovery import MILLISECONDS, grown_children, restarted
from bench.scale import Scale
from bench.stage import Stage, set_up
from bench.supply import ASIDE, QUEUE, all_ended, submission, until

# Long enough for all of them to run at the same time.
NAP_SECONDS = 3.0
NAP_SECONDS_PER_TASK = 1e-3
# With thousands of ids each question costs the ledger something.
ASK_SECONDS = 0.5


async def kill_many(scale: Scale) -> list[Reading]:
    """SIGKILL to the only process of a worker, `scale.many_kills` times, each time with
    `scale.in_flight` fresh tasks."""
    name = f"process killed with {scale.in_flight:,} tasks, {scale.many_kills} kills:"
    taken, gaps = [], []
    async with set_up(scale.settings) as stage:
        await stage.reaper()
        await stage.worker(queues=[ASIDE])
        worker = await stage.worker(queues=[QUEUE], concurrency=scale.in_flight)
        async with heartbeats(stage, [QUEUE, ASIDE]) as beats:
            for number in range(scale.many_kills):
                await worker.hear("worker.opened", count=1 + number)
                seconds, gap = await _kill(stage, worker, beats, tasks=scale.in_flight)
                taken.append(seconds * MILLISECONDS)
                gaps.append(gap)
    return [
        *each_kill(name, taken),
        *(Reading(f"{name} longest gap between heartbeats of others", "ms", gap) for gap in gaps),
        Reading(
            f"{name} the heartbeats are meant to come every",
            "ms",
            stage.config.heartbeat_seconds * MILLISECONDS,
        ),
    ]


async def _kill(
    stage: Stage, worker: Service, beats: Heartbeats, *, tasks: int
) -> tuple[float, int]:
    """Seconds until all tasks run again, and the longest gap between heartbeats until they have
    ended (milliseconds)."""
    (victim,) = await grown_children(worker)
    held = await _occupy(stage, victim.worker_id, tasks)
    killed_at, began = await stage.witness.now(), await stage.lookout.now_ms()
    os.kill(victim.pid, signal.SIGKILL)
    seconds = await restarted(stage, held, killed_at, every=ASK_SECONDS)
    await all_ended(stage)
    dead = {said["worker_id"] for said in worker.heard("child.died")}
    gap = beats.longest_gap(since=began, until=await stage.lookout.now_ms(), dead=dead)
    return seconds, gap


async def _occupy(stage: Stage, worker_id: str, tasks: int) -> Sequence[str]:
    """Give a worker tasks that sleep until all of them run at the same time."""
    nap = NAP_SECONDS + NAP_SECONDS_PER_TASK * tasks
    await stage.engine.submit_many(
        [submission(stage.config, "nap", seconds=nap) for _ in range(tasks)]
    )
    held: list[str] = []

    async def all_run() -> bool:
        held[:] = await stage.witness.held(worker_id)
        return len(held) == tasks

    await until(all_run, what=f"all {tasks:,} tasks run", seconds=nap, every=ASK_SECONDS)
    return held
