"""The cost of API keys for single submissions over HTTP, fresh ones and replays.

Two API processes work on the same servers, one of them without API keys. Only one of them has load
at a time. Turns are short and change their order, so that both meet the same machine and the same
table. Two processes of the same program differ by some percent, because each lays out its memory in
its own way. So each round has new processes, and each figure is the median of the rounds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from statistics import fmean
from time import monotonic

from msgspec import Struct, field

from bench.auth import MODES, WITH_KEY, open_apis
from bench.cost import cpu_seconds
from bench.figures import Reading, percentiles
from bench.http_load import Load, fresh_numbers
from bench.measures.memory import rss
from bench.processes import BenchFailed
from bench.scale import Scale
from bench.stage import Api, set_up
from bench.supply import until

CONNECTIONS = 64
TURNS = 2
WARM_UP_SECONDS = 0.5
REPEATED = 1_000  # tasks whose submissions are sent again
MILLISECONDS = 1e3
MICROSECONDS = 1e6
NAMES = ("HTTP submissions", "HTTP replays")


class Side(Struct):
    """The turns of one API. `rates`: accepted submissions a second in each turn; `cpu`: seconds of
    its process in all turns."""

    api: Api
    accepted: int = 0
    cpu: float = 0.0
    rates: list[float] = field(default_factory=list)
    taken: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Accepted submissions a second, the mean of the turns."""
        return fmean(self.rates)

    @property
    def cost(self) -> float:
        """Microseconds of the process for each submission."""
        return self.cpu / self.accepted * MICROSECONDS

    async def turn(self, seconds: float, again: range | None) -> None:
        """Load the API for so long, and count everything from the first connection to the last
        answer."""
        load = Load(self.api.port, connections=CONNECTIONS, key=self.api.key, again=again)
        cpu, began = cpu_seconds(self.api.pid), monotonic()
        await load.start()
        await asyncio.sleep(seconds)
        await load.stop()
        if again is not None and load.replayed != load.accepted:
            raise BenchFailed(f"{load.replayed} of {load.accepted} answers were replays")
        self.cpu += cpu_seconds(self.api.pid) - cpu
        self.rates.append(load.accepted / (monotonic() - began))
        self.accepted += load.accepted
        self.taken += load.taken


Sides = dict[str, Side]


async def authentication(scale: Scale) -> list[Reading]:
    """Rates, answers and CPU of both APIs, and the cost that keys add."""
    again = fresh_numbers(REPEATED)
    rounds: dict[str, list[Sides]] = {name: [] for name in NAMES}
    memory: dict[str, list[float]] = {suffix: [] for suffix in MODES}
    async with set_up(scale.settings) as stage:
        for _ in range(scale.rounds):
            apis = await open_apis(stage)
            for api in apis.values():
                await warm_up(api, again)
            for name, numbers in zip(NAMES, (None, again), strict=True):
                sides = {suffix: Side(api) for suffix, api in apis.items()}
                for turn in range(TURNS):
                    for side in list(sides.values())[:: -1 if turn % 2 else 1]:
                        await side.turn(scale.turn_seconds, numbers)
                rounds[name].append(sides)
            for suffix, api in apis.items():
                memory[suffix].append(rss(api.pid))
                api.service.stop()
    readings = [reading for name in NAMES for reading in _readings(name, rounds[name])]
    return readings + [
        Reading(f"HTTP submissions and replays{suffix}: memory of the API", "MB", size)
        for suffix, sizes in memory.items()
        for size in sizes
    ]


async def warm_up(api: Api, again: range) -> None:
    """Record every task that is submitted again later."""
    load = Load(api.port, connections=CONNECTIONS, key=api.key, again=again)
    await load.start()
    await asyncio.sleep(WARM_UP_SECONDS)

    async def recorded() -> bool:
        load.check()
        return load.accepted > len(again) + CONNECTIONS

    await until(recorded, what="all submissions are recorded")
    await load.stop()


def _readings(name: str, rounds: Sequence[Sides]) -> Iterator[Reading]:
    for sides in rounds:
        added = 100 * (sides[WITH_KEY].cost / sides[""].cost - 1)
        share = 100 * sides[WITH_KEY].rate / sides[""].rate
        yield Reading(f"{name}: CPU of the API, added by authentication", "%", added)
        yield Reading(f"{name}: rate with a key, of that without", "%", share)
        for suffix, side in sides.items():
            yield Reading(f"{name}{suffix}: accepted", "tasks/s", side.rate)
            yield Reading(f"{name}{suffix}: CPU of API", "us/task", side.cost)
    for suffix in MODES:
        taken = [seconds * MILLISECONDS for of in rounds for seconds in of[suffix].taken]
        yield from percentiles(f"{name}{suffix}: answer", taken, unit="ms")


__all__ = ["MICROSECONDS", "MILLISECONDS", "REPEATED", "Side", "authentication", "warm_up"]
