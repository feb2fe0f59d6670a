"""Profile a worker process with py-spy while it drains.

Its samples are kept as collapsed stacks, which flame graph viewers read; the functions that lead
are printed.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
from collections import Counter
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from bench.paper import new_file
from bench.processes import BenchFailed
from bench.scale import Scale
from bench.stage import set_up
from bench.supply import all_ended, supply

RATE = 250
LEADERS = 30


async def profile(scale: Scale, console: Console, directory: Path) -> None:
    """Drain with one process, and sample it (native frames excluded) until it is done."""
    py_spy = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if py_spy is None:
        raise BenchFailed("py-spy is not installed: pip install py-spy")
    file = new_file(directory, ".stacks")
    async with set_up(scale.settings) as stage:
        await supply(stage, scale.drain_tasks)
        await stage.reaper()  # brings in what does not fit into the lane
        worker = await stage.worker()
        (child,) = psutil.Process(worker.pid).children()
        options = ["--rate", str(RATE), "--function", "--format", "raw", "--output", str(file)]
        sampling = await asyncio.create_subprocess_exec(
            *(py_spy, "record", "--pid", str(child.pid), *options),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            await all_ended(stage)
        finally:
            if sampling.returncode is None:
                sampling.send_signal(signal.SIGINT)
            _, said = await sampling.communicate()
    if not file.exists():
        raise BenchFailed(f"py-spy took no samples: {said.decode(errors='replace').strip()}")
    show(console, file)
    console.print(f"The stacks are in {file}")


def show(console: Console, file: Path) -> None:
    """The leaders: by samples in which the function itself ran, and in which it or what it called
    did."""
    itself: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for line in file.read_text(encoding="utf-8").splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        itself[frames[-1]] += int(count)
        within.update(dict.fromkeys(frames, int(count)))
    total = itself.total()
    for title, samples in (("the function itself", itself), ("with what it calls", within)):
        table = Table("share", "function", title=f"{title}, of {total} samples")
        for name, number in samples.most_common(LEADERS):
            table.add_row(f"{number / total:.1%}", name)
        console.print(table)
