"""The cost of queue names.

Thousands are known, hundreds are served, hundreds have a backlog, and the stores are at a distance.

Four figures. The cost of an idle fleet: a reaper, two workers that both serve the same queues, an
API. The cost of the same fleet while full lanes stand still, because no worker takes from them.
Whether every backlog moves while the benchmark takes deliveries out of all lanes, as busy workers
would. How soon the tasks of a lost worker run again meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from time import monotonic
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from bench.cost import cpu_seconds
from bench.distance import Distance, postgres_at, redis_at, thread_of_its_own
from bench.figures import Reading
from bench.processes import BenchFailed, Service
from bench.recovery import restarted
from bench.scale import Scale
from bench.stage import Stage, set_up
from bench.supply import noop_of, submission, until

DISTANCE_SECONDS = 0.003
# A lane is full after so many, so that small backlogs are backlogs.
WINDOW = 20
BACKLOG_EACH = 300
BLOCK = 10
SETTLE_SECONDS = 12.0  # longer than a lease: leases and walks are in their usual turn
STANDING_SECONDS = 20.0  # until the looks at what stands still are as rare as they get
# Names without tasks and workers are forgotten by the second pass of this duty. They are to be
# known until the end.
PRUNE_SECONDS = 600
TAKE_SECONDS = 0.5
TAKE_EACH = 5
WINDOW_SECONDS = 1.0
VICTIM_TASKS = 40
ROUNDS = 4
NAP_SECONDS = 250.0  # until the end of the run
PATIENCE_SECONDS = 60.0
MOST_COMMANDS = 12


class Fleet(Struct, frozen=True):
    """The services by name, each with a way to Redis of its own, and their common way to
    Postgres."""

    services: dict[str, Service]
    ways: dict[str, Distance]


async def names(scale: Scale) -> list[Reading]:
    """One run; the quick one has few names."""
    settings = {
        "dispatch_window": str(WINDOW),
        "api_port": "0",
        "prune_interval_seconds": str(PRUNE_SECONDS),
    } | scale.settings
    async with set_up(settings) as stage:
        await stage.witness.fill_queues(scale.names)
        served = [f"served.{number}" for number in range(scale.served)]
        async with far_fleet(stage, served) as fleet:
            await asyncio.sleep(SETTLE_SECONDS)
            idle = await _idle(stage, fleet, scale.idle_seconds, "idle fleet")
            behind = [f"behind.{number}" for number in range(scale.behind)]
            await _pile_up(stage, behind)
            full = await _idle(
                stage, fleet, scale.idle_seconds, f"with {scale.behind} full lanes that stand still"
            )
            taking = asyncio.create_task(_take(stage, behind, scale.moving_seconds))
            try:
                lost = await _lose(stage, fleet, served)
                moves = await taking
            finally:
                taking.cancel()
    return [
        *idle,
        *full,
        *moves,
        Reading("tasks of a lost worker run again, beyond the lease", "s", lost),
    ]


@asynccontextmanager
async def far_fleet(stage: Stage, served: Sequence[str]) -> AsyncIterator[Fleet]:
    """A reaper, two workers for these queues and an API, with both stores at a distance."""
    postgres_url, redis_url = str(stage.config.postgres_url), str(stage.config.redis_url)
    queues = ",".join(served)
    commands = {
        "reaper": ("reaper",),
        "worker 1": ("worker", "bench.app:app", "--queues", queues),
        "worker 2": ("worker", "bench.app:app", "--queues", queues),
        "API": ("api",),
    }
    events = {"reaper": "reaper.started", "worker": "worker.opened", "api": "api.started"}
    async with AsyncExitStack() as stack:
        loop = stack.enter_context(thread_of_its_own())
        postgres = await _way(stack, loop, postgres_at(postgres_url, 0)[0])
        ways, services = {}, {}
        for name, command in commands.items():
            ways[name] = await _way(stack, loop, redis_at(redis_url, 0)[0], counting=True)
            far = replace(
                stage.config,
                postgres_url=postgres_at(postgres_url, postgres.port)[1],
                redis_url=redis_at(redis_url, ways[name].port)[1],
            )
            services[name] = stage.start(*command, config=far)
            await services[name].hear(events[command[0]])
        yield Fleet(services, ways)
        for service in services.values():
            service.stop()


async def _way(
    stack: AsyncExitStack, loop: asyncio.AbstractEventLoop, path: str, *, counting: bool = False
) -> Distance:
    async def there(work: Coroutine[Any, Any, None]) -> None:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))

    way = Distance(path, seconds=DISTANCE_SECONDS, counting=counting)
    await there(way.start())
    stack.push_async_callback(lambda: there(way.aclose()))
    return way


class Count(Struct, frozen=True):
    """The consumption up to a moment."""

    moment: float
    cpu: dict[str, float]
    sent: dict[str, Counter[str]]
    carried_out: Mapping[str, int]
    transactions: int


async def _count(stage: Stage, fleet: Fleet) -> Count:
    pids = {name: service.pid for name, service in fleet.services.items()}
    pids |= {"Postgres": stage.postgres_pid, "Valkey": stage.valkey_pid}
    return Count(
        monotonic(),
        {name: cpu_seconds(pid) for name, pid in pids.items()},
        {name: Counter(way.commands) for name, way in fleet.ways.items()},
        await stage.lookout.commands(),
        await stage.witness.transactions(),
    )


async def _idle(stage: Stage, fleet: Fleet, seconds: float, about: str) -> list[Reading]:
    """The cost of an idle fleet."""
    before = await _count(stage, fleet)
    await asyncio.sleep(seconds)
    after = await _count(stage, fleet)
    passed = after.moment - before.moment
    cpu = {name: (after.cpu[name] - before.cpu[name]) / passed * 100 for name in before.cpu}
    sent = {name: after.sent[name] - before.sent[name] for name in before.sent}
    inside = (
        sum(after.carried_out.values())
        - sum(before.carried_out.values())
        - sum(c.total() for c in sent.values())
    )
    readings = [
        Reading(f"{about}: CPU", "% of a core", sum(cpu[name] for name in fleet.services)),
        *(Reading(f"{about}: CPU of {name}", "% of a core", share) for name, share in cpu.items()),
        Reading(
            f"{about}: commands of Redis",
            "1/s",
            (sum(c.total() for c in sent.values()) + max(inside, 0)) / passed,
        ),
        Reading(f"{about}: of these inside scripts", "1/s", max(inside, 0) / passed),
        Reading(
            f"{about}: transactions of Postgres",
            "1/s",
            (after.transactions - before.transactions) / passed,
        ),
    ]
    for name, counter in sent.items():
        readings.append(Reading(f"{about}: commands of {name}", "1/s", counter.total() / passed))
        for command, count in counter.most_common(MOST_COMMANDS):
            readings.append(Reading(f"{about}: {command} of {name}", "1/s", count / passed))
    return readings


async def _pile_up(stage: Stage, behind: Sequence[str]) -> None:
    """Give each of these queues more than its lane holds. In turn, so that they share every part of
    the ledger."""
    for _ in range(BACKLOG_EACH // BLOCK):
        answers = await stage.engine.submit_many(
            [noop_of(stage.config, queue) for queue in behind for _ in range(BLOCK)]
        )
        if refused := [answer for answer in answers if isinstance(answer, BaseException)]:
            raise refused[0]

    async def all_full() -> bool:
        return min(await stage.lookout.lengths(behind)) >= WINDOW

    await stage.engine.pusher.aclose()  # what it has in hand is pushed or refused
    await until(all_full, what="every lane is full")
    await asyncio.sleep(STANDING_SECONDS)


async def _take(stage: Stage, behind: Sequence[str], seconds: float) -> list[Reading]:
    """Take some out of each lane again and again; how many deliveries there were to take from each
    within a second."""
    left = Counter(dict.fromkeys(behind, BACKLOG_EACH))
    moved: list[int] = []
    began = window_began = monotonic()
    window: Counter[str] = Counter()
    while monotonic() - began < seconds:
        await asyncio.sleep(TAKE_SECONDS)
        taken = await stage.lookout.take(behind, most=TAKE_EACH)
        await stage.witness.end_taken([task_id for ids in taken.values() for task_id in ids])
        window.update({queue: len(ids) for queue, ids in taken.items()})
        if monotonic() - window_began >= WINDOW_SECONDS:
            # Fewer deliveries than a lane holds may be the end of a backlog.
            moved += [window[queue] for queue in behind if left[queue] > WINDOW]
            left -= window
            window_began, window = monotonic(), Counter()
    if not moved:
        raise BenchFailed("no delivery was pulled for a whole second")
    return [
        Reading("every backlog moves: the least in a second", "tasks", min(moved)),
        Reading(
            "every backlog moves: seconds in which one stood still",
            "%",
            moved.count(0) / len(moved) * 100,
        ),
        Reading("every backlog moves: all of them", "tasks/s", sum(moved) / seconds),
    ]


async def _lose(stage: Stage, fleet: Fleet, served: Sequence[str]) -> float:
    """Seconds beyond the lease from the kill of a whole worker until its tasks run again."""
    survivor, victim = fleet.services["worker 1"], fleet.services["worker 2"]
    ids = [worker.heard("worker.opened")[0]["worker_id"] for worker in (survivor, victim)]
    held: list[str] = []
    for round_ in range(1, ROUNDS + 1):
        for number in range(VICTIM_TASKS):
            await stage.engine.submit(
                submission(
                    stage.config, "nap", queue=served[number % len(served)], seconds=NAP_SECONDS
                )
            )

        async def all_run(count: int = round_ * VICTIM_TASKS) -> bool:
            others, held[:] = [await stage.witness.held(worker_id) for worker_id in ids]
            return len(others) + len(held) == count

        await until(all_run, what="all tasks run", seconds=PATIENCE_SECONDS)
        if held:
            break
    killed_at = await stage.witness.now()
    victim.kill_whole()
    return await restarted(stage, held, killed_at) - stage.config.lease_seconds
