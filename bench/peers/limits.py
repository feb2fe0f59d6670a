"""Measure limits on the number of tasks that run at the same time in all workers.

Two workers, with more slots together than the limit has permits. Short tasks tell the throughput,
and tasks of a second tell when the permits of a killed worker are used again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from time import monotonic

from bench.cost import MICROSECONDS
from bench.figures import Reading
from bench.peers import concurrency, outcomes
from bench.peers.contenders import Contender
from bench.peers.ground import Ground, set_up
from bench.peers.measures import all_done, used
from bench.peers.scope import Scope
from bench.peers.sides.settings import KEYS, LIMIT
from bench.processes import BenchFailed

WORKERS, SLOTS = 2, 100
# Fewer than the limit in each, so that every worker holds many of the permits.
HOLD_SLOTS = 30
READY_SECONDS = DONE_SECONDS = 60.0
SETTLED_SECONDS = 3.0
POLL_SECONDS = 0.25
# So large a part of the permits is in use: a permit that becomes free takes a moment to be used.
USED = 0.9


async def limited(contender: Contender, scope: Scope, *, keys: bool) -> list[Reading]:
    """Short tasks are there before the workers start. CPU: of all processes, between the first
    effect and the last."""
    name = f"limit of {LIMIT}" + (f", {KEYS:,} keys" if keys else "")
    count = scope.few(contender.limit_tasks)
    async with set_up(contender, slots=SLOTS, limited=True) as ground:
        await ground.submit("fill", count, task="keyed" if keys else "brief")
        _start(ground)
        await ground.until(1, seconds=READY_SECONDS)
        began, before = len(outcomes.done(ground.effects())), used(ground)
        await all_done(ground, count, records=2, seconds=DONE_SECONDS)
        after, effects = used(ground), ground.effects()
    each = MICROSECONDS / max(count - began, 1)
    readings = [
        Reading(name, "tasks/s", outcomes.rate(effects)),
        Reading(f"{name}: CPU of all", "us/task", (after["all"] - before["all"]) * each),
        Reading(f"{name}: most together", "tasks", concurrency.most_at_once(effects)),
        Reading(f"{name}: done twice", "tasks", outcomes.doubled(effects)),
    ]
    if keys:
        most = concurrency.most_of_a_key(effects, KEYS)
        readings.append(Reading(f"{name}: most of a key together", "tasks", most))
    return readings


async def permits(
    contender: Contender, scope: Scope, *, reliable: bool, seed: int
) -> list[Reading]:
    """Tasks hold all permits, one of two workers is killed, and another one starts immediately.
    Raises `BenchFailed` where the permits are not in use again in time."""
    name = f"permits of a killed worker, {'most reliable' if reliable else 'default'} settings"
    async with set_up(contender, slots=HOLD_SLOTS, reliable=reliable, limited=True) as ground:
        await ground.submit("fill", scope.hold_tasks, task="hold")
        _start(ground)
        await _until(ground, READY_SECONDS, lambda: _highest(ground) >= LIMIT * USED)
        await asyncio.sleep(SETTLED_SECONDS)
        place = random.Random(seed).randrange(WORKERS)
        kill = ground.crew.kill(place)
        ground.start_worker(place)

        def seconds() -> float | None:
            return concurrency.usable_after(ground.effects(), kill, round(LIMIT * USED))

        await _until(ground, scope.patience_seconds, lambda: seconds() is not None)
        found, effects = seconds(), ground.effects()
    return [
        Reading(name, "s", found or 0.0),
        Reading(f"{name}: held", "permits", concurrency.held(effects, kill)),
        Reading(f"{name}: most together", "tasks", concurrency.most_at_once(effects, [kill])),
    ]


def _start(ground: Ground) -> None:
    ground.start_companion()
    for place in range(WORKERS):
        ground.start_worker(place)


def _highest(ground: Ground) -> int:
    return concurrency.most_at_once(ground.effects())


async def _until(ground: Ground, seconds: float, condition: Callable[[], bool]) -> None:
    give_up = monotonic() + seconds
    while not condition():
        if monotonic() > give_up:
            raise BenchFailed(
                f"after {seconds:.0f} s there are {ground.count()} effects, the highest number at "
                f"the same time is {_highest(ground)}; last lines of a worker: "
                f"{ground.crew.last_words()}"
            )
        await asyncio.sleep(POLL_SECONDS)
