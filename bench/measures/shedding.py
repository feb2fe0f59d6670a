"""The accepted rate, the answers and the memory of an overloaded API.

The service and its stores share one core, and the load has another one. First as many clients
submit as the API works for at the same time, then ten times as many. A client sends its next
submission as soon as the last one is answered, also after a 503: none heeds Retry-After.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from msgspec import Struct

from bench.auth import MODES
from bench.figures import Reading, percentile
from bench.http_load import Load
from bench.measures.memory import rss
from bench.processes import BenchFailed
from bench.scale import Scale
from bench.stage import Api, set_up
from leaseq.config import Config

TIMES = 10
WARM_UP_SECONDS = 2.0
MILLISECONDS = 1e3
NAME = "shed"


class Window(Struct, frozen=True, kw_only=True):
    """Some seconds of steady load: rates, seconds of each accepted request, and bytes."""

    accepted: float
    shed: float
    taken: list[float]
    memory: list[float]


async def shed(scale: Scale) -> list[Reading]:
    """Accepted work under ten times the load, beside what the API does without overload: of an API
    without API keys, then of one with them, each with servers of its own."""
    readings = []
    for suffix, mode in MODES.items():
        full, over = await _play(scale, mode)
        readings += _readings(f"{NAME}{suffix}", full, over)
    return readings


async def _play(scale: Scale, mode: str) -> tuple[Window, Window]:
    admitted = Config().api_requests
    served, client = _two_cores()
    settings = {"api_connections": str(2 * TIMES * admitted)} | scale.settings
    with _running_on(served) as move:
        async with set_up(settings) as stage:
            api = await stage.api(auth=mode)
            move(client)
            seconds = scale.shed_seconds
            full = await _load(api, connections=admitted, seconds=seconds)
            over = await _load(api, connections=TIMES * admitted, seconds=seconds)
    return full, over


def _readings(name: str, full: Window, over: Window) -> list[Reading]:
    return [
        Reading(f"{name}: accepted under overload, of the full rate", "%", 100 * over.accepted / full.accepted),
        Reading(f"{name}: full rate", "tasks/s", full.accepted),
        Reading(f"{name}: accepted under overload", "tasks/s", over.accepted),
        Reading(f"{name}: refused", "1/s", over.shed),
        Reading(f"{name}: refused share", "%", 100 * over.shed / (over.shed + over.accepted)),
        Reading(f"{name}: accepted, p50", "ms", MILLISECONDS * percentile(over.taken, 0.5)),
        Reading(f"{name}: accepted, p99", "ms", MILLISECONDS * percentile(over.taken, 0.99)),
        Reading(f"{name}: accepted without overload, p99", "ms", MILLISECONDS * percentile(full.taken, 0.99)),
        Reading(f"{name}: memory of the API without overload", "MB", full.memory[-1]),
        Reading(f"{name}: memory of the API under overload, at the end", "MB", over.memory[-1]),
        Reading(f"{name}: it grew in the second half", "MB", over.memory[-1] - over.memory[0]),
    ]  # fmt: skip


async def _load(api: Api, *, connections: int, seconds: float) -> Window:
    """Some seconds of load by so many connections, after a warm-up."""
    load = Load(api.port, connections=connections, key=api.key, sheds=True)
    await load.start()
    await asyncio.sleep(WARM_UP_SECONDS)
    began, accepted, refused = monotonic(), load.accepted, load.shed
    memory = []
    for _ in range(2):
        await asyncio.sleep(seconds / 2)
        memory.append(rss(api.pid))
    load.check()
    lasted = monotonic() - began
    window = Window(
        accepted=(load.accepted - accepted) / lasted,
        shed=(load.shed - refused) / lasted,
        taken=load.taken[accepted : load.accepted],
        memory=memory,
    )
    await load.stop()
    return window


def _two_cores() -> tuple[int, int]:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise BenchFailed("this measurement needs two cores: one for the service, one for the load")
    return cores[0], cores[1]


@contextmanager
def _running_on(core: int) -> Iterator[Callable[[int], None]]:
    """Run on one core, as do the processes that are started meanwhile. Gives a function that moves
    this process to another core."""
    before = os.sched_getaffinity(0)

    def move(to: int) -> None:
        os.sched_setaffinity(0, {to})

    move(core)
    try:
        yield move
    finally:
        os.sched_setaffinity(0, before)


__all__ = ["shed"]
