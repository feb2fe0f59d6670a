"""The instructions that a worker process executes for one plain task.

`python -m bench.instructions` drains two numbers of tasks with a worker under valgrind, and divides
the difference. The result repeats within half a percent, also on a busy machine, where the time of a
processor differs by a tenth from one run to the next. It says nothing about caches and system
calls. Two revisions are compared by running it in each.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
import tempfile
from pathlib import Path

from bench.processes import BenchFailed
from bench.stage import APP, set_up
from bench.supply import all_ended, supply

TASKS = (5_000, 25_000)
SLOWER = 20.0  # than without valgrind
# A process under valgrind is not late by its own clock, but by that of the others.
PATIENT = {
    "lease_seconds": "120",
    "heartbeat_seconds": "20",
    "loop_stall_seconds": "300",
    "grace_seconds": "300",
    "statement_timeout_seconds": "60",
}
CHILD = "leaseq.worker.child"
EXECUTED = re.compile(r"I\s+refs:\s+([\d,]+)")


async def instructions_of(tasks: int) -> int:
    """The instructions of a worker process from its start to its end, with so many tasks."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise BenchFailed("valgrind is not installed: it is a package of the system")
    with tempfile.TemporaryDirectory(prefix="leaseq-bench-") as directory:
        tool = ("--tool=cachegrind", "--cache-sim=no", "--trace-children=yes")
        files = (f"--log-file={directory}/%p.log", f"--cachegrind-out-file={directory}/%p.out")
        async with set_up(PATIENT) as stage:
            await supply(stage, tasks)
            await stage.reaper()
            worker = stage.start(
                *("worker", APP, "--processes", "1"),
                python=(valgrind, *tool, *files, sys.executable),
                patience=SLOWER,
            )
            await worker.hear("worker.opened")
            await all_ended(stage)
        (executed,) = counted(Path(directory))
    if executed is None:
        raise BenchFailed("valgrind has counted nothing: the worker process was killed")
    return int(executed[1].replace(",", ""))


def counted(directory: Path) -> list[re.Match[str] | None]:
    """The counts in the logs of valgrind for worker processes. None: it was killed."""
    logs = [log.read_text(errors="replace") for log in directory.glob("*.log")]
    return [EXECUTED.search(log) for log in logs if CHILD in log]


async def main() -> None:
    """Print the instructions for each task, without those of a start."""
    few, many = [await instructions_of(tasks) for tasks in TASKS]
    print(f"{(many - few) / (TASKS[1] - TASKS[0]):,.0f} instructions a task")


if __name__ == "__main__":
    asyncio.run(main())
