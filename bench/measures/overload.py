"""Growth of API, worker, reaper and Valkey under overload.

Everything between them is bounded: what waits, waits in the ledger.
"""

from __future__ import annotations

import asyncio

import psutil

from bench.figures import Reading
from bench.http_load import Load
from bench.measures.memory import MEGABYTE, rss
from bench.scale import Scale
from bench.stage import Stage, set_up

CONNECTIONS = 256
# With 100 slots some 500 tasks a second, a tenth of what the API takes.
BODY = b'{"type":"nap","payload":{"seconds":0.2%09d}}'
PARTS = 4
NAME = "overload"


async def overload(scale: Scale) -> list[Reading]:
    """Memory after each quarter of `scale.overload_seconds`, and how much of it came after the
    first."""
    sizes: list[dict[str, float]] = []
    async with set_up(scale.settings) as stage:
        api = await stage.api()
        pids = {
            "API": api.pid,
            "worker": (await stage.worker()).pid,
            "reaper": (await stage.reaper()).pid,
        }
        load = Load(api.port, connections=CONNECTIONS, key=api.key, body=BODY)
        await load.start()
        begin = await stage.witness.now()
        for _ in range(PARTS):
            await asyncio.sleep(scale.overload_seconds / PARTS)
            load.check()
            sizes.append(await _sizes(stage, pids))
        await load.stop()
        done = await stage.witness.ended_between(begin, await stage.witness.now())
    grown = {who: sizes[-1][who] - sizes[0][who] for who in sizes[0]}
    return [
        Reading(f"{NAME}: accepted", "tasks/s", load.accepted / scale.overload_seconds),
        Reading(f"{NAME}: done", "tasks/s", done / scale.overload_seconds),
        Reading(
            f"{NAME}: all of them grew after the first quarter",
            "MB",
            sum(max(size, 0.0) for size in grown.values()),
        ),
        *(
            Reading(f"{NAME}: {who} grew after the first quarter", "MB", size)
            for who, size in grown.items()
        ),
        *(Reading(f"{NAME}: {who}, at the end", "MB", size) for who, size in sizes[-1].items()),
    ]


async def _sizes(stage: Stage, pids: dict[str, int]) -> dict[str, float]:
    """Megabytes: RSS of a service and its children (what they share counts for each), and what
    Valkey says it uses."""
    return {name: _of_all(pid) for name, pid in pids.items()} | {
        "Valkey": await stage.lookout.memory() / MEGABYTE
    }


def _of_all(pid: int) -> float:
    return sum(
        rss(process)
        for process in (pid, *(child.pid for child in psutil.Process(pid).children(recursive=True)))
    )
