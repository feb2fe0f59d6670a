"""Measure waits and streams: their cost, and how soon they learn of an end."""

from __future__ import annotations

import asyncio
import os
import random
from time import monotonic

from bench.auth import MODES
from bench.cost import Meter
from bench.figures import Reading, percentiles
from bench.followers import Followers
from bench.measures.memory import rss
from bench.processes import BenchFailed
from bench.scale import Scale
from bench.stage import Api, Stage, set_up
from bench.supply import ASIDE, noop_of
from leaseq.model import DEFAULT_TENANT

NAME = "following"
SETTLE_SECONDS = 3.0
END_EVERY_SECONDS = 0.02
BURST = 200
PATIENCE_SECONDS = 60.0
KILOBYTES = 1e3  # of a megabyte
MILLISECONDS = 1e3


async def following(scale: Scale) -> list[Reading]:
    """As many waits as streams, of tasks that no worker serves, which are then cancelled: of an API
    without API keys, then of one with them, each with servers of its own."""
    readings = []
    for suffix, mode in MODES.items():
        settings = {"api_connections": str(4 * scale.followers)} | scale.settings
        async with set_up(settings) as stage:
            api = await stage.api(auth=mode)
            readings += await _play(stage, api, scale, name=f"{NAME}{suffix}")
    return readings


async def _play(stage: Stage, api: Api, scale: Scale, *, name: str) -> list[Reading]:
    count = scale.followers
    tasks = [noop_of(stage.config, ASIDE) for _ in range(2 * count)]
    await stage.engine.submit_many(tasks)
    ids = [task.task_id for task in tasks]
    followers = Followers(api.port, key=api.key)
    readings = []
    for kind, path, of in (("wait", "?wait=60", ids[:count]), ("stream", "/events", ids[count:])):
        before = rss(api.pid)
        await followers.open([(task_id, path) for task_id in of], kind=kind)
        await asyncio.sleep(SETTLE_SECONDS)
        size = (rss(api.pid) - before) / count * KILOBYTES
        readings.append(Reading(f"{name}: memory of a {kind}", "KB", size))
    pids = {"API": api.pid, "Postgres": stage.postgres_pid, "client": os.getpid()}
    readings += await _idle(pids, seconds=scale.idle_seconds, name=name)
    random.shuffle(ids)
    single, rest = ids[: scale.followed_ends], ids[scale.followed_ends :]
    readings += await _single_ends(stage, followers, pids, single, name=name)
    readings += await _burst(stage, followers, rest[:BURST], name=name)
    await followers.close()
    return readings


async def _idle(pids: dict[str, int], *, seconds: float, name: str) -> list[Reading]:
    meter = Meter(pids)
    began = monotonic()
    await asyncio.sleep(seconds)
    meter.stop()
    return meter.shares(f"{name}, nothing happens", monotonic() - began)


async def _single_ends(
    stage: Stage, followers: Followers, pids: dict[str, int], ids: list[str], *, name: str
) -> list[Reading]:
    """One end each 20 ms, timed from the moment when its commit is known."""
    meter, began = Meter(pids), monotonic()
    ended: dict[str, float] = {}
    for number, task_id in enumerate(ids):
        await asyncio.sleep(began + number * END_EVERY_SECONDS - monotonic())
        await stage.engine.for_tenant(DEFAULT_TENANT).cancel(task_id)
        ended[task_id] = monotonic()
    await _until_known(followers, ids)
    meter.stop()
    readings = meter.shares(f"{name}, 50 ends a second", monotonic() - began)
    for kind in ("wait", "stream"):
        late = [
            (followers.known[task_id] - at) * MILLISECONDS
            for task_id, at in ended.items()
            if followers.kinds[task_id] == kind
        ]
        readings += percentiles(f"{name}: end known to a {kind}", late, unit="ms")
    return readings


async def _burst(stage: Stage, followers: Followers, ids: list[str], *, name: str) -> list[Reading]:
    """Many ends in one statement."""
    await stage.engine.stores.tasks.cancel(ids, tenant=DEFAULT_TENANT)
    at = monotonic()
    await _until_known(followers, ids)
    late = [(followers.known[task_id] - at) * MILLISECONDS for task_id in ids]
    return percentiles(f"{name}: {len(ids)} ends together known", late, unit="ms")


async def _until_known(followers: Followers, ids: list[str]) -> None:
    give_up = monotonic() + PATIENCE_SECONDS
    while any(task_id not in followers.known for task_id in ids):
        if monotonic() > give_up:
            missing = sum(task_id not in followers.known for task_id in ids)
            raise BenchFailed(f"{missing} of {len(ids)} clients did not learn of the end")
        await asyncio.sleep(END_EVERY_SECONDS)
