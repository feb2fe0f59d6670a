"""Run the benchmark: `python -m bench [NAMES] [--quick]`.

Exit code 1 if a measurement failed, 130 after Ctrl-C.

`python -m bench page RESULT.json [PEERS.json]` makes docs/benchmarks.md from kept results.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import uvloop
from msgspec.structs import replace
from rich.console import Console

from bench.catalogue import MEASUREMENTS, Measurement
from bench.figures import Figure, combine
from bench.machine import describe
from bench.page import bind, page
from bench.paper import RESULTS, Report, as_markdown, keep, show, show_machine
from bench.processes import BenchFailed
from bench.profile import profile
from bench.scale import QUICK, Scale
from leaseq.errors import LeaseqError

INTERRUPTED = 130
PLAY_SECONDS = 3_600.0
PROFILE = "profile"
PAGE = "page"
# Its own servers, and the log in which it reads that a service is ready.
OURS = {"data_dir", "log_format", "log_level", "postgres_url", "redis_url"}
NAMES = [measurement.name for measurement in MEASUREMENTS]
# Options that are not called as the fields of a scale are.
FIELDS = {"tasks": "drain_tasks", "lost": "lost_workers"}
console = Console(stderr=True)


@click.command()
@click.argument("names", nargs=-1, type=click.Choice([*NAMES, PROFILE]))
@click.option("--quick", is_flag=True, help="Little of everything, once: to see that it works.")
@click.option(
    "--runs", type=click.IntRange(1, 50), help="How often each measurement is played (3)."
)
@click.option(
    "--tasks", type=click.IntRange(1_000, 2_000_000), help="How many tasks are drained (100,000)."
)
@click.option("--kills", type=click.IntRange(1, 1_000), help="How often a process is killed (20).")
@click.option("--lost", type=click.IntRange(1, 100), help="How often a whole worker is lost (5).")
@click.option(
    "--in-flight",
    type=click.IntRange(1, 100_000),
    help="How many tasks a process that is killed holds (10,000).",
)
@click.option(
    "--deep",
    type=click.IntRange(1_000),
    help="How many tasks wait while others are drained (1,000,000).",
)
@click.option(
    "--aged", type=click.IntRange(1_000), help="How many tasks have ended before (10,000,000)."
)
@click.option("--backlog", type=click.IntRange(1_000), help="How many tasks pile up (1,000,000).")
@click.option(
    "--due", type=click.IntRange(1_000), help="How many tasks become due together (1,000,000)."
)
@click.option(
    "--old",
    type=click.IntRange(1_000),
    help="How many tasks, and keys, are to be pruned (1,000,000).",
)
@click.option(
    "--shown",
    type=click.IntRange(1_000),
    help="How many tasks of `pages` have finished, and how many wait (10,000,000).",
)
@click.option(
    "--asked-cold",
    type=click.IntRange(0, 100),
    help="How often an address of `pages` is asked after a restart of Postgres (3).",
)
@click.option(
    "--path",
    "paths",
    multiple=True,
    metavar="PATH",
    help="An address for `pages`, instead of those in bench/paths.txt; may be repeated.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="Another value of the configuration, or of Postgres (postgres.NAME=VALUE).",
)
@click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False),
    default=RESULTS,
    help="Where the values are kept.",
)
def main(
    names: tuple[str, ...],
    quick: bool,
    settings: tuple[str, ...],
    paths: tuple[str, ...],
    results: Path,
    **numbers: int | None,
) -> None:
    """Measure NAMES, by default everything but `profile`: where one worker process spends its time
    while it drains.

    With --quick, by default neither `cpu` nor `lost`: what they show is seen, sooner, in `drain-1`
    and `lost-short`.
    """
    scale = replace(choose(QUICK if quick else Scale(), settings, numbers), paths=paths)
    if PROFILE in names:
        finish(profile(scale, console, results))
        return
    usual = [measurement for measurement in MEASUREMENTS if measurement.quick or not quick]
    chosen = (
        [measurement for measurement in MEASUREMENTS if measurement.name in names]
        if names
        else usual
    )
    report = finish(measure_all(chosen, scale))
    show(console, report)
    file = keep(report, results)
    print(as_markdown(report))
    console.print(f"Every value stands in {file}, to look at in {bind(report, file)[-1]}")
    if find_spec("matplotlib") is None:
        console.print(
            "No pictures: matplotlib is not installed (the extra `bench` brings it)",
            style="yellow",
            markup=False,
        )
    sys.exit(1 if report.failed else 0)


def choose(scale: Scale, settings: tuple[str, ...], numbers: dict[str, int | None]) -> Scale:
    """The scale with what the command line says otherwise."""
    given = {
        FIELDS.get(name, name): number for name, number in numbers.items() if number is not None
    }
    pairs = dict(pair.partition("=")[::2] for pair in settings)
    if refused := pairs.keys() & OURS:
        raise click.UsageError(
            f"{', '.join(sorted(refused))} cannot be set: the benchmark needs it as it is"
        )
    return replace(scale, settings=pairs, **given)


async def measure_all(chosen: list[Measurement], scale: Scale) -> Report:
    """Run one measurement after the other. A failure is reported, and does not end the others."""
    began = datetime.now(UTC).isoformat(timespec="seconds")
    machine = await describe()
    show_machine(console, machine)
    figures: dict[str, list[Figure]] = {}
    failed: dict[str, str] = {}
    for measurement in chosen:
        try:
            figures[measurement.name] = await measure(measurement, scale)
        except (BenchFailed, LeaseqError, OSError, TimeoutError) as error:
            failed[measurement.name] = str(error) or type(error).__name__
            console.print(
                f"{measurement.name} FAILED: {failed[measurement.name]}",
                style="bold red",
                markup=False,
            )
    return Report(began=began, machine=machine, scale=scale, figures=figures, failed=failed)


async def measure(measurement: Measurement, scale: Scale) -> list[Figure]:
    """All runs of one measurement."""
    runs = []
    count = 1 if measurement.repeats else scale.runs
    for number in range(1, count + 1):
        with console.status(f"{measurement.name}, run {number} of {count}"):
            async with asyncio.timeout(PLAY_SECONDS):
                runs.append(await measurement.play(scale))
        first = runs[-1][0]
        console.print(
            f"{measurement.name} {number}/{count}: {first.name} {first.value:,.1f} {first.unit}",
            markup=False,
        )
    return combine(runs)


def finish(work: Coroutine[Any, Any, Any]) -> Any:
    """Run it. The first Ctrl-C or SIGTERM cancels it; nothing interrupts the taking down."""

    async def cancellable() -> Any:
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()

        def interrupt() -> None:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, lambda: None)
            task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, interrupt)
        return await task

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(cancellable())
    except asyncio.CancelledError:
        console.print("Interrupted; everything has been taken down.")
        sys.exit(INTERRUPTED)
    except BenchFailed as failed:
        console.print(str(failed), style="bold red", markup=False)
        sys.exit(1)


if __name__ == "__main__":
    if sys.argv[1:2] == [PAGE]:
        page(sys.argv[2:])
    main()
