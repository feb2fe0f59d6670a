"""The measurements of a contender, one play each, on fresh servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

from bench.cost import MICROSECONDS, cpu_seconds, machine_seconds
from bench.figures import Reading, percentile
from bench.peers import outcomes
from bench.peers.contenders import Contender
from bench.peers.ground import Ground, Submitted, set_up
from bench.peers.scope import Scope
from bench.processes import BenchFailed

Play = Callable[[Contender, Scope], Awaitable[list[Reading]]]

DRAIN_SECONDS = 180.0
READY_SECONDS = 60.0
# With another pace it is another number of tasks.
USUAL_PACE = 0.02
WARM_UP_TASKS = 25
# Their order ids are far from those that count.
WARM_UP_ID = 1_000_000_000
FLOOD_TASKS = 10_000_000


async def submit(contender: Contender, scope: Scope) -> list[Reading]:
    """No worker runs. One by one, then by the documented call for many, 500 at a time."""
    async with set_up(contender, slots=contender.slots) as ground:
        single = await ground.submit("one", scope.few(2_000))
        readings = [Reading("submit one by one", "tasks/s", single.rate)]
        if contender.bulk:
            many = await ground.submit(
                "bulk", scope.few(max(10_000, contender.tasks)), first=single.count
            )
            readings.append(Reading("submit in bulk", "tasks/s", many.rate))
    return readings


async def drain(contender: Contender, scope: Scope, *, workers: int) -> list[Reading]:
    """All tasks are there before the workers start. CPU: from the first effect to the last, of both
    trees."""
    name = f"drain, {workers} worker{'s' if workers > 1 else ''}"
    count = scope.few(contender.tasks)
    async with set_up(contender, slots=contender.slots) as ground:
        await ground.submit("fill", count)
        ground.start_companion()
        for place in range(workers):
            ground.start_worker(place)
        await ground.until(1, seconds=READY_SECONDS)
        began, before = ground.count(), used(ground)
        await all_done(ground, count)
        ended, after = ground.count(), used(ground)
        effects = ground.effects()
    each = MICROSECONDS / max(ended - began, 1)
    return [
        Reading(name, "tasks/s", outcomes.rate(effects)),
        Reading(f"{name}, middle 80 %", "tasks/s", outcomes.middle_rate(effects)),
        *(
            Reading(f"{name}: CPU of {of}", "us/task", (after[of] - before[of]) * each)
            for of in after
        ),
        Reading(f"{name}: done twice", "tasks", outcomes.doubled(effects)),
    ]


async def latency(contender: Contender, scope: Scope) -> list[Reading]:
    """One task at each step of its pace, from just before its submission to its handler."""
    count = WARM_UP_TASKS + max(round(scope.few(300) * USUAL_PACE / contender.pace_seconds), 20)
    async with _ready(contender) as ground:
        await ground.submit("pace", count, seconds=contender.pace_seconds)
        await all_done(ground, count)
        delays = outcomes.delays_ms(ground.effects(), range(WARM_UP_TASKS, count))
    return [
        Reading(f"idle latency p{share:.0f}", "ms", percentile(delays, share / 100))
        for share in (50, 99)
    ]


async def end_to_end(contender: Contender, scope: Scope, *, submitters: int = 1) -> list[Reading]:
    """Each of these processes submits one by one while one worker runs. Submitted and done: within
    the seconds in which all of them submit."""
    name = "end to end" + (f", {submitters} submitters" if submitters > 1 else "")
    async with _ready(contender) as ground:
        async with asyncio.TaskGroup() as group:
            flooding = [
                group.create_task(_flood(ground, scope, place, of=submitters))
                for place in range(submitters)
            ]
        effects = ground.effects()
    floods = [task.result() for task in flooding]
    began_ns = max(flood.began_ns for flood in floods)
    ended_ns = min(flood.ended_ns for flood in floods)
    seconds = (ended_ns - began_ns) * outcomes.SECONDS
    if seconds < scope.flood_seconds / 2:
        raise BenchFailed(f"{submitters} submitters were together for {max(seconds, 0):.1f} s")
    finished = outcomes.within(effects, began_ns=began_ns, ended_ns=ended_ns)
    return [
        Reading(f"{name}: submitted", "tasks/s", sum(flood.rate for flood in floods)),
        Reading(f"{name}: done", "tasks/s", finished / seconds),
    ]


async def _flood(ground: Ground, scope: Scope, place: int, *, of: int) -> Submitted:
    return await ground.submit(
        "flood",
        FLOOD_TASKS,
        first=place * FLOOD_TASKS,
        seconds=scope.flood_seconds,
        together=of,
    )


@asynccontextmanager
async def _ready(contender: Contender) -> AsyncIterator[Ground]:
    """A worker that has already run a task, and nothing else to do."""
    async with set_up(contender, slots=contender.slots) as ground:
        ground.start_companion()
        ground.start_worker(0)
        await ground.submit("one", 1, first=WARM_UP_ID)
        await ground.until(1, seconds=READY_SECONDS)
        yield ground


async def all_done(
    ground: Ground, count: int, *, records: int = 1, seconds: float = DRAIN_SECONDS
) -> None:
    """Wait until each task 0 to `count` is done. A task done twice does not replace a missing
    one. `records`: of each task."""
    wanted = count * records
    while True:
        await ground.until(wanted, seconds=seconds)
        missing = count - sum(order_id < WARM_UP_ID for order_id in outcomes.done(ground.effects()))
        if not missing:
            return
        wanted = ground.count() + 1


def used(ground: Ground) -> dict[str, float]:
    """CPU seconds so far of the workers (with what runs beside them), of the servers, of all of
    these, of each kind of process, and of all other work of the machine."""
    crew = ground.crew.cpu_seconds()
    servers = {name: cpu_seconds(pid) for name, pid in ground.servers.items()}
    workers, stores = sum(crew.values()), sum(servers.values())
    totals = {"workers": workers, "servers": stores, "all": workers + stores}
    other = machine_seconds() - totals["all"]
    return {**totals, **crew, **servers, "other processes": other}


MEASURES: dict[str, Play] = {
    "submit": submit,
    "drain-1": partial(drain, workers=1),
    "drain-2": partial(drain, workers=2),
    "latency": latency,
    "e2e": end_to_end,
    "e2e-8": partial(end_to_end, submitters=8),
}
