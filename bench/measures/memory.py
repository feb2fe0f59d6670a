"""Memory of a worker, idle and with every slot busy."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psutil

from bench.figures import Reading
from bench.processes import Service
from bench.scale import Scale
from bench.stage import set_up
from bench.supply import all_ended, submission, until

SETTLE_SECONDS = 1.0
NAP_SECONDS = 3.0
MEGABYTE = 1_000_000
KIB = 1_024
SMAPS = "/proc/{pid}/smaps_rollup"  # Linux has it


async def memory(scale: Scale) -> list[Reading]:
    """RSS of the supervisor and of its one child, in which what they share counts twice, and PSS,
    in which each has its part."""
    async with set_up(scale.settings) as stage:
        slots = stage.config.concurrency
        worker = await stage.worker()
        worker_id = worker.heard("worker.opened")[0]["worker_id"]
        await asyncio.sleep(SETTLE_SECONDS)
        idle = _taken(worker, "idle")

        async def all_busy() -> bool:
            return len(await stage.witness.held(worker_id)) == slots

        await stage.engine.submit_many(
            [submission(stage.config, "nap", seconds=NAP_SECONDS) for _ in range(slots)]
        )
        await until(all_busy, what="every slot is busy", seconds=NAP_SECONDS)
        busy = _taken(worker, f"{slots} slots busy")
        await all_ended(stage)
    return [*idle, *busy]


def _taken(worker: Service, when: str) -> list[Reading]:
    """The memory of the supervisor, of its child, and of both together."""
    supervisor = psutil.Process(worker.pid)
    (child,) = supervisor.children()
    readings = []
    for measure, of in MEASURES.items():
        parts = {"supervisor": of(supervisor.pid), "child": of(child.pid)}
        parts["both"] = sum(parts.values())
        readings += [
            Reading(f"memory, {when}: {who}, {measure}", "MB", size) for who, size in parts.items()
        ]
    return readings


def rss(pid: int) -> float:
    """In megabytes."""
    return float(psutil.Process(pid).memory_info().rss) / MEGABYTE


def _pss(pid: int) -> float:
    """A page that several processes share counts for each of them in part."""
    for line in Path(SMAPS.format(pid=pid)).read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * KIB / MEGABYTE
    raise ValueError(f"{SMAPS.format(pid=pid)} has no Pss")


MEASURES = {"RSS": rss} | ({"PSS": _pss} if Path(SMAPS.format(pid="self")).exists() else {})
