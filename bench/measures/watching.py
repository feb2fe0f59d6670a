"""The cost of open dashboards for the tasks beside them.

Turns with dashboards and without them alternate within one run, so that both meet the same
processes, the same tables and the same machine. Two turns of a round are without them: they tell
how much two equal turns differ. The rates include the cost of the client that stands for the
browsers, which runs on the same machine. The CPU of the services does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from time import monotonic

from msgspec import Struct

from bench.cost import Meter
from bench.dashboards import watched
from bench.figures import Reading
from bench.http_load import Load
from bench.measures.over_http import CONNECTIONS, WARM_UP_SECONDS
from bench.processes import BenchFailed
from bench.scale import Scale
from bench.stage import Stage, set_up
from bench.supply import all_ended, backlog, require_single_runs, supply

# The first and the last turn of a round are the pair of equal ones.
ROUND = (False, True, True, False)
# Of the backlog, at the speed of the drain, while there are turns to play.
TASKS_A_SECOND = 35_000
SERVICES = ("API", "worker", "reaper", "Postgres", "Valkey")


class Turn(Struct, frozen=True):
    """The tasks that ended in a second, and microseconds of each service for each of them."""

    rate: float
    costs: dict[str, float]

    @property
    def cost(self) -> float:
        """Microseconds of all services together for a task."""
        return sum(self.costs.values())


async def watching(scale: Scale) -> list[Reading]:
    """A load over HTTP, and a backlog that is drained, each beside dashboards."""
    return [
        *_readings("HTTP end to end", scale.dashboards, await _http(scale)),
        *_readings("drain, 1 process", scale.dashboards, await _drain(scale)),
    ]


async def _http(scale: Scale) -> list[list[Turn]]:
    async with set_up(scale.settings) as stage:
        pids, port = await _services(stage)
        load = Load(port, connections=CONNECTIONS)
        await load.start()
        await asyncio.sleep(WARM_UP_SECONDS)
        rounds = await _rounds(stage, pids, port, scale)
        await load.stop()
        await all_ended(stage)
        await require_single_runs(stage, load.accepted)
        return rounds


async def _drain(scale: Scale) -> list[list[Turn]]:
    async with set_up(scale.settings) as stage:
        seconds = scale.watched_rounds * len(ROUND) * (scale.watched_seconds + 1)
        await supply(stage, int(seconds * TASKS_A_SECOND))
        pids, port = await _services(stage)
        rounds = await _rounds(stage, pids, port, scale)
        if not await backlog(stage):
            raise BenchFailed("the backlog was drained before the last turn")
        return rounds


async def _services(stage: Stage) -> tuple[dict[str, int], int]:
    api = await stage.api()
    reaper = await stage.reaper()
    worker = await stage.worker()
    pids = (api.pid, worker.pid, reaper.pid, stage.postgres_pid, stage.valkey_pid)
    return dict(zip(SERVICES, pids, strict=True)), api.port


async def _rounds(stage: Stage, pids: dict[str, int], port: int, scale: Scale) -> list[list[Turn]]:
    rounds = []
    for _ in range(scale.watched_rounds):
        turns = []
        for open_ in ROUND:
            async with AsyncExitStack() as stack:
                if open_:
                    await stack.enter_async_context(watched(port, scale.dashboards))
                turns.append(await _turn(stage, pids, scale.watched_seconds))
        rounds.append(turns)
    return rounds


async def _turn(stage: Stage, pids: dict[str, int], seconds: float) -> Turn:
    begin, began = await stage.witness.now(), monotonic()
    meter = Meter(pids)
    await asyncio.sleep(seconds)
    meter.stop()
    end, lasted = await stage.witness.now(), monotonic() - began
    ended = await stage.witness.ended_between(begin, end)
    if not ended:
        raise BenchFailed("no task ended during a turn")
    costs = [reading.value for reading in meter.per_task("", ended)]
    return Turn(rate=ended / lasted, costs=dict(zip(SERVICES, costs, strict=True)))


def _readings(name: str, count: int, rounds: list[list[Turn]]) -> Iterator[Reading]:
    with_them = f"{name}, {count} dashboards"
    for first, *open_, last in rounds:
        without = (first.cost + last.cost) / 2
        rate = (first.rate + last.rate) / 2
        added = 100 * (sum(turn.cost for turn in open_) / len(open_) / without - 1)
        share = 100 * sum(turn.rate for turn in open_) / len(open_) / rate
        yield Reading(f"{with_them}: CPU of all services, added", "%", added)
        yield Reading(f"{with_them}: rate, of that without", "%", share)
        yield Reading(
            f"{name}: CPU, last turn against first", "%", 100 * (last.cost / first.cost - 1)
        )
        yield Reading(f"{name}: rate, last turn of first", "%", 100 * last.rate / first.rate)
        for turn, about in ((first, name), (open_[0], with_them)):
            yield Reading(f"{about}: done", "tasks/s", turn.rate)
            for service, cost in turn.costs.items():
                yield Reading(f"{about}: CPU of {service}", "us/task", cost)
