"""The cost of schedules for a reaper: 100,000 idle ones, and 10,000 due together.

`python -m bench.schedules` runs the duties of a reaper in this process, on servers of its own, and
prints its share of a processor with and without idle schedules, the seconds until due schedules are
tasks, and the longest time for which the event loop, and so another duty, was held up. It wants a
quiet machine.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from time import monotonic, process_time

import psycopg

from leaseq.config import Config
from leaseq.embedded import embedded_servers
from leaseq.ledger.roles import prepare_embedded
from leaseq.operations.engine import Engine
from leaseq.operations.open_engine import open_engine
from leaseq_reaper.duties.fire import Fire
from leaseq_reaper.duty_runner import run_duties
from leaseq_reaper.sidecar import duties

IDLE, DUE = 100_000, 10_000
SECONDS = 30.0
FAR_SECONDS = 86_400.0
TICK_SECONDS = 0.01
SQL = files("bench") / "sql"


def statement(name: str) -> bytes:
    """The text of a statement of the benchmark."""
    return (SQL / f"{name}.sql").read_bytes()


class Lag:
    """The longest time for which the event loop ran nothing else."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def watch(self) -> None:
        """Measure until cancelled."""
        while True:
            before = monotonic()
            await asyncio.sleep(TICK_SECONDS)
            self.longest = max(self.longest, monotonic() - before - TICK_SECONDS)


@contextmanager
def watched() -> Iterator[Lag]:
    """Measure within the block."""
    lag = Lag()
    watching = asyncio.ensure_future(lag.watch())
    try:
        yield lag
    finally:
        watching.cancel()


async def idle_share(engine: Engine, seconds: float) -> float:
    """The share of a processor that all duties need while nothing happens."""
    stop = asyncio.Event()
    running = asyncio.create_task(run_duties(duties(engine), stop))
    await asyncio.sleep(2.0)
    began, used = monotonic(), process_time()
    await asyncio.sleep(seconds)
    share = (process_time() - used) / (monotonic() - began)
    stop.set()
    await running
    return share


async def fire_all(engine: Engine, plain: psycopg.AsyncConnection[object], count: int) -> None:
    """Fire schedules that are due at the same moment, and print how long it took."""
    await plain.execute(statement("make_schedules_due"))
    duty = Fire(engine.stores, engine.config)
    began, used = monotonic(), process_time()
    with watched() as lag:
        while await engine.stores.schedules.find_due(limit=1):
            await duty.run_once()
    seconds, cpu = monotonic() - began, process_time() - used
    print(f"{count} due schedules were tasks after {seconds:.2f} s, {cpu:.2f} s of CPU here;")
    print(f"another duty was held up for at most {lag.longest * 1000:.0f} ms")


async def measure(config: Config) -> None:
    async with (
        open_engine(config, name="leaseq bench") as engine,
        await psycopg.AsyncConnection.connect(str(config.postgres_url), autocommit=True) as plain,
    ):
        alone = await idle_share(engine, SECONDS)
        await plain.execute(statement("put_schedules"), {"count": IDLE, "seconds": FAR_SECONDS})
        beside = await idle_share(engine, SECONDS)
        print(f"idle reaper: {alone:.2%} of a processor, {beside:.2%} beside {IDLE} schedules")
        await plain.execute(statement("delete_schedules"))
        await plain.execute(statement("put_schedules"), {"count": DUE, "seconds": FAR_SECONDS})
        await fire_all(engine, plain, DUE)
        await fire_all(engine, plain, DUE)


def main() -> None:
    """Measure on servers in a temporary directory."""
    with (
        tempfile.TemporaryDirectory(prefix="leaseq-bench-") as directory,
        suppress(KeyboardInterrupt),
        embedded_servers(Config(data_dir=Path(directory))) as config,
    ):
        asyncio.run(_run(config))


async def _run(config: Config) -> None:
    await measure(await prepare_embedded(config))


if __name__ == "__main__":
    main()
