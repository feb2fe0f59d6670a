"""The cost of API keys for single submissions over HTTP, fresh ones and replays.

Two API processes work on the same servers, one of them without API keys. Only one of them has load
at a time. Turns are short and change their order, so that both meet the same machine and the same
table. First each submission has a fresh idempotency key, then all of them are replays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from statistics import median
from time import monotonic

from msgspec import Struct, field

from bench.auth import WITH_KEY, open_apis
from bench.cost import cpu_seconds
from bench.figures import Reading, percentiles
from bench.http_load import Load, fresh_numbers
from bench.measures.memory import rss
from bench.processes import BenchFailed
from bench.scale import Scale
from bench.stage import Api, set_up
from bench.supply import until

CONNECTIONS = 64
WARM_UP_SECONDS = 1.0
REPEATED = 1_000  # tasks whose submissions are sent again
MILLISECONDS = 1e3
MICROSECONDS = 1e6


class Side(Struct):
    """The turns of one API. `rates`: accepted submissions a second in each turn; `cpu`: seconds of
    its process in all turns."""

    api: Api
    accepted: int = 0
    cpu: float = 0.0
    rates: list[float] = field(default_factory=list)
    taken: list[float] = field(default_factory=list)

    async def turn(self, seconds: float, again: range | None) -> None:
        """Load the API for so long, and count everything from the first connection to the last
        answer."""
        load = Load(
            self.api.port,
            connections=CONNECTIONS,
            key=self.api.key,
            again=again,
        )
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


async def authentication(scale: Scale) -> list[Reading]:
    """Rates, answers and CPU of both APIs, and what the one with keys costs more."""
    async with set_up(scale.settings) as stage:
        apis = await open_apis(stage)
        again = fresh_numbers(REPEATED)
        for api in apis.values():
            await warm_up(api, again)
        readings = []
        for name, numbers in (("HTTP submissions", None), ("HTTP replays", again)):
            sides = {suffix: Side(api) for suffix, api in apis.items()}
            for turn in range(scale.turns):
                for side in list(sides.values())[:: -1 if turn % 2 else 1]:
                    await side.turn(scale.turn_seconds, numbers)
            readings += _readings(name, sides)
        readings += [
            Reading(f"HTTP submissions{suffix}: memory of the API, at the end", "MB", rss(api.pid))
            for suffix, api in apis.items()
        ]
    return readings


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


def _readings(name: str, sides: Mapping[str, Side]) -> list[Reading]:
    readings = []
    for suffix, side in sides.items():
        taken = [seconds * MILLISECONDS for seconds in side.taken]
        readings += [
            Reading(f"{name}{suffix}: accepted", "tasks/s", median(side.rates)),
            Reading(f"{name}{suffix}: CPU of API", "us/task", _cost(side)),
            *percentiles(f"{name}{suffix}: answer", taken, unit="ms"),
        ]
    without, asked = sides[""], sides[WITH_KEY]
    shares = [mine / other for mine, other in zip(asked.rates, without.rates, strict=True)]
    more = 100 * (_cost(asked) / _cost(without) - 1)
    return [
        Reading(f"{name}: CPU of the API, added by authentication", "%", more),
        Reading(f"{name}: rate with a key, of that without", "%", 100 * median(shares)),
        *readings,
    ]


def _cost(side: Side) -> float:
    return side.cpu / side.accepted * MICROSECONDS


__all__ = ["MICROSECONDS", "MILLISECONDS", "REPEATED", "Side", "authentication", "warm_up"]
