"""The cost of quotas for single submissions over HTTP, fresh ones and replays.

One API process serves two tenants in turn, one of them with quotas that are never reached. The
turns are those of `auth`. No worker runs, so the list of unfinished tasks grows. The API process
and Postgres count it once a second in the turns of both.
"""

from __future__ import annotations

from statistics import median

from msgspec.structs import replace

from bench.cost import cpu_seconds
from bench.figures import Reading, percentiles
from bench.http_load import fresh_numbers
from bench.measures.authentication import MICROSECONDS, MILLISECONDS, REPEATED, Side, warm_up
from bench.scale import Scale
from bench.stage import SCOPES, Api, Stage, set_up
from leaseq.operations.access import MOST_OF_QUOTA

WITH_QUOTAS = ", with quotas"
# The tenant of each addition to the names of figures.
TENANTS = {"": "without-quotas", WITH_QUOTAS: "with-quotas"}


class Turns(Side):
    """The turns of one tenant. `postgres`: seconds of Postgres in all of them."""

    postgres: float = 0.0


async def quotas(scale: Scale) -> list[Reading]:
    """Rates, answers and CPU for both tenants, and what the one with quotas costs more."""
    async with set_up(scale.settings) as stage:
        apis = await _open(stage)
        again = {suffix: fresh_numbers(REPEATED) for suffix in apis}
        for suffix, api in apis.items():
            await warm_up(api, again[suffix])
        readings = []
        for name, replays in (("HTTP submissions", False), ("HTTP replays", True)):
            sides = {suffix: Turns(api) for suffix, api in apis.items()}
            for turn in range(scale.turns):
                for suffix in list(sides)[:: -1 if turn % 2 else 1]:
                    before = cpu_seconds(stage.postgres_pid)
                    numbers = again[suffix] if replays else None
                    await sides[suffix].turn(scale.turn_seconds, numbers)
                    sides[suffix].postgres += cpu_seconds(stage.postgres_pid) - before
            readings += _readings(name, sides)
    return readings


async def _open(stage: Stage) -> dict[str, Api]:
    """One API process, with a key for each tenant."""
    access = stage.engine.access
    opened = await stage.api(auth="keys")
    apis = {}
    for suffix, tenant in TENANTS.items():
        await access.create_tenant(tenant)
        issued = await access.create_key(
            "bench", scopes=SCOPES, tenant=tenant, expires_seconds=None
        )
        apis[suffix] = replace(opened, key=issued.text)
    await access.limit_tenant(TENANTS[WITH_QUOTAS], dict(MOST_OF_QUOTA))
    return apis


def _readings(name: str, sides: dict[str, Turns]) -> list[Reading]:
    readings = []
    for suffix, side in sides.items():
        taken = [seconds * MILLISECONDS for seconds in side.taken]
        readings += [
            Reading(f"{name}{suffix}: accepted", "tasks/s", median(side.rates)),
            Reading(f"{name}{suffix}: CPU of API", "us/task", _cost(side, side.cpu)),
            Reading(f"{name}{suffix}: CPU of Postgres", "us/task", _cost(side, side.postgres)),
            *percentiles(f"{name}{suffix}: answer", taken, unit="ms"),
        ]
    without, limited = sides[""], sides[WITH_QUOTAS]
    shares = [mine / other for mine, other in zip(limited.rates, without.rates, strict=True)]
    more = 100 * (_cost(limited, limited.cpu) / _cost(without, without.cpu) - 1)
    return [
        Reading(f"{name}: CPU of the API, added by quotas", "%", more),
        Reading(f"{name}: rate with quotas, of that without", "%", 100 * median(shares)),
        *readings,
    ]


def _cost(side: Side, seconds: float) -> float:
    return seconds / side.accepted * MICROSECONDS


__all__ = ["WITH_QUOTAS", "quotas"]
