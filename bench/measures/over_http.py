"""The rate of submissions over HTTP that the whole system sustains.

An API, a worker and a reaper, as `leaseq dev` runs them, on both servers. It only counts as kept up
with if the backlog does not grow; so that is a figure too.
"""

from __future__ import annotations

import asyncio
import os
from time import monotonic

from msgspec import Struct

from bench.cost import Meter
from bench.figures import Reading, percentiles
from bench.http_load import Load
from bench.scale import Scale
from bench.stage import Stage, set_up
from bench.supply import all_ended, backlog, require_single_runs

CONNECTIONS = 64
WARM_UP_SECONDS = 1.0
WATCH_SECONDS = 0.2
MILLISECONDS = 1e3
NAME = "HTTP end to end"


class Window(Struct, frozen=True, kw_only=True):
    """Measurements of some seconds of steady load. `taken`: seconds of each request; `depths`: of
    the backlog, in turn."""

    seconds: float
    accepted: int
    done: int
    depths: list[int]
    taken: list[float]
    meter: Meter


async def over_http(scale: Scale) -> list[Reading]:
    """Accepted and finished tasks within the same seconds, and their cost."""
    window = await play_http(scale)
    return [
        Reading(f"{NAME}: accepted", "tasks/s", window.accepted / window.seconds),
        Reading(f"{NAME}: done", "tasks/s", window.done / window.seconds),
        Reading(
            f"{NAME}: finished share of accepted tasks", "%", 100 * window.done / window.accepted
        ),
        Reading(f"{NAME}: backlog, most", "tasks", max(window.depths)),
        Reading(f"{NAME}: backlog, at the end", "tasks", window.depths[-1]),
        *percentiles(
            f"{NAME}: answer", [taken * MILLISECONDS for taken in window.taken], unit="ms"
        ),
        *window.meter.per_task(NAME, window.accepted),
    ]


async def play_http(scale: Scale) -> Window:
    """Submit as fast as 64 connections get their answers."""
    async with set_up(scale.settings) as stage:
        api = await stage.api()
        pids = {
            "API": api.pid,
            "worker": (await stage.worker()).pid,
            "reaper": (await stage.reaper()).pid,
        }
        load = Load(api.port, connections=CONNECTIONS, key=api.key)
        await load.start()
        await asyncio.sleep(WARM_UP_SECONDS)
        window = await _window(stage, load, pids, seconds=scale.http_seconds)
        await load.stop()
        await all_ended(stage)
        await require_single_runs(stage, load.accepted)
    return window


async def _window(stage: Stage, load: Load, pids: dict[str, int], *, seconds: float) -> Window:
    """Measure some seconds of steady load."""
    begin, began, before = await stage.witness.now(), monotonic(), load.accepted
    meter = Meter(
        pids | {"Postgres": stage.postgres_pid, "Valkey": stage.valkey_pid, "client": os.getpid()}
    )
    depths = []
    while monotonic() < began + seconds:
        await asyncio.sleep(WATCH_SECONDS)
        depths.append(await backlog(stage))
        load.check()
    meter.stop()
    end, lasted, accepted = await stage.witness.now(), monotonic() - began, load.accepted - before
    return Window(
        seconds=lasted,
        accepted=accepted,
        done=await stage.witness.ended_between(begin, end),
        depths=depths,
        taken=load.taken[before : before + accepted],
        meter=meter,
    )
