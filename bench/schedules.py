"""The cost of schedules: 100,000 idle ones, and many that are due together.

`python -m bench.schedules` runs the duties of a reaper in this process, on servers of its own, and
prints its share of a processor with and without idle schedules, the seconds until due schedules are
tasks, the longest delay of another duty meanwhile, and the memory of the process.
`--due 1000000 --idle 0` is the largest measurement, and takes some minutes and 3 GB of disk. It
wants a quiet machine. CPU times hold on a busy one, too.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from time import monotonic, process_time
from typing import Self

import click
import psutil
import psycopg
from msgspec import Struct
from msgspec.structs import replace

from bench.cost import cpu_seconds
from leaseq.config import Config
from leaseq.embedded import PostgresServer, embedded_servers
from leaseq.ledger.roles import prepare_embedded
from leaseq.operations.engine import Engine
from leaseq.operations.open_engine import open_engine
from leaseq_reaper.duty_runner import JITTER, Duty, run_duties
from leaseq_reaper.sidecar import duties

FAR_SECONDS = 86_400.0
TICK_SECONDS = 0.01
LOOK_SECONDS = 0.5
WARM_UP_SECONDS = 2.0
# For each schedule: a reaper that starts first computes all next times again.
REFRESH_SECONDS = 0.0006
MEGABYTE = 1_000_000
SQL = files("bench") / "sql"


class Scale(Struct, frozen=True, kw_only=True):
    """How many schedules are idle, how many are due together, and how long idleness is measured."""

    idle: int
    due: int
    seconds: float
    postgres_pid: int


def statement(name: str) -> bytes:
    """The text of a statement of the benchmark."""
    return (SQL / f"{name}.sql").read_bytes()


class Delays:
    """The longest delay of each duty: the time between its interval and the begin of its next pass."""

    def __init__(self) -> None:
        self._expected: dict[str, float] = {}
        self.longest: dict[str, float] = {}
        self.loop = 0.0

    def watched(self, duty: Duty) -> Duty:
        """The same duty, of which each pass is noted."""

        async def run_once() -> None:
            self._note(duty)
            await duty.run_once()

        return replace(duty, run_once=run_once)

    async def watch_loop(self) -> None:
        """Measure for how long the event loop runs nothing else, until cancelled."""
        while True:
            before = monotonic()
            await asyncio.sleep(TICK_SECONDS)
            self.loop = max(self.loop, monotonic() - before - TICK_SECONDS)

    def finish(self, work: Sequence[Duty]) -> None:
        """Count the passes that have not begun yet."""
        for duty in work:
            self._note(duty)

    def forget(self) -> None:
        """Begin again."""
        self._expected.clear()
        self.longest.clear()
        self.loop = 0.0

    def _note(self, duty: Duty) -> None:
        now = monotonic()
        if (expected := self._expected.get(duty.name)) is not None:
            late = max(now - expected, 0.0)
            self.longest[duty.name] = max(self.longest.get(duty.name, 0.0), late)
        # At the latest, with jitter, and later where the last passes have found nothing.
        self._expected[duty.name] = now + duty.interval_seconds * duty.factor() * (1 + JITTER)


class Running:
    """The duties of a reaper, which run in this process until the block ends."""

    def __init__(self, engine: Engine) -> None:
        self.delays = Delays()
        self.work = [self.delays.watched(duty) for duty in duties(engine)]
        self._stop = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(run_duties(self.work, self._stop))
        self._watching = asyncio.create_task(self.delays.watch_loop())
        await asyncio.sleep(WARM_UP_SECONDS)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._watching.cancel()
        self._stop.set()
        await self._running


async def idle_share(engine: Engine, scale: Scale, *, schedules: int) -> tuple[float, float]:
    """The shares of a processor that this process and Postgres need while nothing happens."""
    async with Running(engine):
        await asyncio.sleep(schedules * REFRESH_SECONDS)
        began, used, stored = monotonic(), process_time(), cpu_seconds(scale.postgres_pid)
        await asyncio.sleep(scale.seconds)
        seconds = monotonic() - began
        return (process_time() - used) / seconds, (
            cpu_seconds(scale.postgres_pid) - stored
        ) / seconds


async def fire_all(engine: Engine, plain: psycopg.AsyncConnection[object], scale: Scale) -> None:
    """Let all schedules become due at the same moment beside all duties, and print how it went."""
    await plain.execute(statement("vacuum_schedules"))
    memory = psutil.Process().memory_info().rss
    async with Running(engine) as running:
        running.delays.forget()
        await plain.execute(statement("make_schedules_due"))
        began, used, stored = monotonic(), process_time(), cpu_seconds(scale.postgres_pid)
        most = memory
        while await engine.stores.schedules.find_due(limit=1):
            most = max(most, psutil.Process().memory_info().rss)
            await asyncio.sleep(LOOK_SECONDS)
        seconds = monotonic() - began
        running.delays.finish(running.work)
    cpu, servers = process_time() - used, cpu_seconds(scale.postgres_pid) - stored
    each = 1e6 / scale.due
    print(
        f"{scale.due} due schedules were tasks after {seconds:.1f} s ({scale.due / seconds:,.0f} a "
        f"second); CPU of each: {cpu * each:.0f} us here, {servers * each:.0f} us of Postgres"
    )
    late = sorted(running.delays.longest.items(), key=lambda item: -item[1])
    print(
        f"longest delay of a pass: {', '.join(f'{name} {late * 1000:.0f} ms' for name, late in late[:4])}; "
        f"the event loop was held up for at most {running.delays.loop * 1000:.0f} ms"
    )
    print(
        f"memory of this process: {memory / MEGABYTE:.0f} MB before, at most {most / MEGABYTE:.0f} MB"
    )


async def measure(config: Config, scale: Scale) -> None:
    async with (
        open_engine(config, name="leaseq bench") as engine,
        await psycopg.AsyncConnection.connect(str(config.postgres_url), autocommit=True) as plain,
    ):
        if scale.idle:
            await _measure_idle(engine, plain, scale)
        if scale.due:
            await plain.execute(statement("delete_schedules"))
            await _put(plain, scale.due)
            await fire_all(engine, plain, scale)


async def _measure_idle(
    engine: Engine, plain: psycopg.AsyncConnection[object], scale: Scale
) -> None:
    alone = await idle_share(engine, scale, schedules=0)
    await _put(plain, scale.idle)
    beside = await idle_share(engine, scale, schedules=scale.idle)
    for words, (reaper, postgres) in (("without", alone), (f"beside {scale.idle}", beside)):
        print(
            f"idle reaper {words} schedules: {reaper:.2%} of a processor, Postgres {postgres:.2%}"
        )


async def _put(plain: psycopg.AsyncConnection[object], count: int) -> None:
    await plain.execute(statement("put_schedules"), {"count": count, "seconds": FAR_SECONDS})


async def _run(config: Config, scale: Scale) -> None:
    await measure(await prepare_embedded(config), scale)


@click.command()
@click.option(
    "--idle", default=100_000, show_default=True, help="Idle schedules (0: do not measure)."
)
@click.option("--due", default=10_000, show_default=True, help="Schedules due together (0: none).")
@click.option("--seconds", default=30.0, show_default=True, help="For each idle measurement.")
def main(idle: int, due: int, seconds: float) -> None:
    """Measure on servers in a temporary directory."""
    with (
        tempfile.TemporaryDirectory(prefix="leaseq-bench-") as directory,
        suppress(KeyboardInterrupt),
        embedded_servers(Config(data_dir=Path(directory))) as config,
    ):
        postgres = PostgresServer(Path(directory) / "postgres").pid or 0
        asyncio.run(_run(config, Scale(idle=idle, due=due, seconds=seconds, postgres_pid=postgres)))


if __name__ == "__main__":
    main()
