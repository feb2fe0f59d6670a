"""The cost of a fleet with nothing to do: passes, statements and CPU.

`python -m bench.idle` first runs the passes of each duty of a reaper on empty tables, in turn, and
prints the CPU that one needs here and in Postgres, and its statements. Then it starts a worker, a
reaper and an API, and counts their statements and their CPU. CPU is what the kernel has counted in
nanoseconds (`schedstat`, so Linux only), so other work of the machine adds little to it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from statistics import median
from time import monotonic, thread_time_ns

import psutil
import psycopg

from bench.stage import Stage, set_up
from leaseq_reaper.sidecar import duties

TURNS, PASSES = 9, 40
# Of issue 16: the duties that every installation runs, also where it has neither limits nor schedules.
TOGETHER = ("admit", "audit", "fire")
SETTLE_SECONDS, SECONDS = 20.0, 30.0
SHOWN = 12
SETTINGS = {
    "postgres.shared_preload_libraries": "pg_stat_statements",
    "postgres.autovacuum": "off",
}


class Counts:
    """The statements that Postgres has run, and the CPU of process trees."""

    def __init__(self, plain: psycopg.AsyncConnection[tuple[object, ...]], stage: Stage) -> None:
        self._plain = plain
        self._pid = stage.postgres_pid

    async def rows(self, name: str, **params: object) -> list[tuple[object, ...]]:
        """The rows of a statement of the benchmark."""
        text = (files("bench") / "sql" / f"{name}.sql").read_bytes()
        return await (await self._plain.execute(text, params or None)).fetchall()

    async def statements(self) -> int:
        """The number so far."""
        text = (files("bench") / "sql" / "count_statements.sql").read_text(encoding="utf-8")
        found = await (await self._plain.execute(text.replace("%%", "%").encode())).fetchall()
        return int(str(found[0][0]))

    async def most_called(self) -> list[tuple[int, str]]:
        """Those with the most calls."""
        found = await self.rows("list_calls", limit=SHOWN)
        return [(int(str(calls)), str(text)) for calls, text in found]

    def postgres_ns(self) -> int:
        return tree_ns(self._pid)


def tree_ns(pid: int) -> int:
    """The CPU time of a process and its descendants."""
    root = psutil.Process(pid)
    total = 0
    for process in (root, *root.children(recursive=True)):
        for thread in Path(f"/proc/{process.pid}/task").glob("*/schedstat"):
            with suppress(OSError):
                total += int(thread.read_text(encoding="ascii").split()[0])
    return total


async def passes(stage: Stage, counts: Counts) -> None:
    """Print the cost of one pass of each duty, the median of the turns."""
    work = duties(stage.engine)
    spent: dict[str, list[tuple[float, float]]] = {duty.name: [] for duty in work}
    statements: dict[str, float] = {}
    for duty in work:
        await _repeat(duty.run_once)
    for _ in range(TURNS):
        for duty in work:
            before = await counts.statements()
            stored, here = counts.postgres_ns(), thread_time_ns()
            await _repeat(duty.run_once)
            here, stored = thread_time_ns() - here, counts.postgres_ns() - stored
            spent[duty.name].append((here / PASSES / 1e3, stored / PASSES / 1e3))
            statements[duty.name] = (await counts.statements() - before) / PASSES
    print("| duty | CPU of a pass here, us | of Postgres, us | statements | pass each s |")
    print("|---|---:|---:|---:|---:|")
    both = {
        name: (median(h for h, _ in found), median(s for _, s in found))
        for name, found in spent.items()
    }
    for duty in work:
        here_us, stored_us = both[duty.name]
        every = duty.interval_seconds * duty.factor()
        print(
            f"| {duty.name} | {here_us:.0f} | {stored_us:.0f} | {statements[duty.name]:.1f} | {every:g} |"
        )
    total = sum(sum(both[name]) for name in TOGETHER if name in both)
    print(f"\n{', '.join(TOGETHER)} together: {total / 1e3:.2f} ms of CPU for a pass of each\n")


async def fleet(stage: Stage, counts: Counts, seconds: float) -> None:
    """Print the statements and the CPU of a worker, a reaper and an API that have nothing to do."""
    worker = await stage.worker()
    reaper = await stage.reaper()
    api = await stage.api()
    pids = {"worker": worker.pid, "reaper": reaper.pid, "api": api.pid}
    pids["Postgres"] = stage.postgres_pid
    await asyncio.sleep(SETTLE_SECONDS)
    await counts.rows("reset_statements")
    began, before = monotonic(), {name: tree_ns(pid) for name, pid in pids.items()}
    await asyncio.sleep(seconds)
    passed = monotonic() - began
    shares = {name: (tree_ns(pid) - before[name]) / passed / 1e7 for name, pid in pids.items()}
    print(
        f"idle worker, reaper and API: {await counts.statements() / passed:.1f} statements a second"
    )
    print(", ".join(f"{name} {share:.2f} % of a processor" for name, share in shares.items()))
    for calls, text in await counts.most_called():
        print(f"  {calls / passed:6.1f} a second: {text}")


async def measure(seconds: float) -> None:
    async with set_up(SETTINGS) as stage:
        url = str(stage.config.postgres_url)
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as plain:
            counts = Counts(plain, stage)
            await plain.execute((files("bench") / "sql" / "make_statistics.sql").read_bytes())
            await passes(stage, counts)
            await fleet(stage, counts, seconds)


async def _repeat(work: Callable[[], Awaitable[None]]) -> None:
    for _ in range(PASSES):
        await work()


if __name__ == "__main__":
    asyncio.run(measure(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS))
