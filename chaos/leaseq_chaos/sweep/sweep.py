"""Run the whole sweep.

Some lanes side by side, each with a cluster of its own, take cells from one list. A cluster lives
as long as its cells are green. After one that is not, its stores and services are thrown away, so
that nothing of it is blamed on the next.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import deque
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from time import monotonic

from msgspec import Struct

from leaseq_chaos.cluster.cluster import Layout, open_cluster
from leaseq_chaos.scenario import DEFAULT_CONFIG
from leaseq_chaos.sweep.experiment import Bench, run_cell
from leaseq_chaos.sweep.grid import Cell, cells
from leaseq_chaos.sweep.noted import Noted
from leaseq_chaos.sweep.outcome import Outcome
from leaseq_chaos.sweep.submitter import ACCOUNTS, TASKS
from leaseq_chaos.verdict import Verdict
from leaseq_chaos.workload.accounts import prepare
from leaseq_chaos.workload.front import open_session

__all__ = ["CONFIG", "Options", "Sweep", "sweep"]

CENTS = 100_000
# A cell takes as long as its leases and passes: they are short here.
CONFIG: Mapping[str, str] = {
    **DEFAULT_CONFIG,
    "LEASEQ_LEASE_SECONDS": "1",
    "LEASEQ_HEARTBEAT_SECONDS": "0.25",
    "LEASEQ_LOOP_STALL_SECONDS": "3",
    "LEASEQ_GRACE_SECONDS": "1",
    "LEASEQ_RECONCILE_INTERVAL_SECONDS": "0.15",
    # As few as there may be: the tasks of one cell are more than a lane holds.
    "LEASEQ_DISPATCH_WINDOW": "10",
}


class Options(Struct, frozen=True, kw_only=True):
    """The options. Without points or actions: all of them."""

    directory: Path
    seed: int = 1
    lanes: int = 2
    points: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """Repeats the sweep."""
        narrowed = [f" --only {point}" for point in self.points] + [
            f" --action {action}" for action in self.actions
        ]
        return f"leaseq-chaos sweep --seed {self.seed} --lanes {self.lanes}{''.join(narrowed)}"


class Sweep(Struct, frozen=True, kw_only=True):
    """The results."""

    command: str
    seconds: float
    tasks: int
    outcomes: list[Outcome]


Tell = Callable[[Outcome], None]


async def sweep(options: Options, *, tell: Tell) -> Sweep:
    """Try every cell. `tell` hears of each when it is done."""
    began = monotonic()
    shutil.rmtree(options.directory, ignore_errors=True)
    waiting = deque(cells(seed=options.seed, points=options.points, actions=options.actions))
    outcomes: list[Outcome] = []

    def done(outcome: Outcome) -> None:
        outcomes.append(outcome)
        tell(outcome)

    lanes = min(options.lanes, len(waiting))
    async with asyncio.TaskGroup() as group:
        for number in range(1, lanes + 1):
            group.create_task(_lane(options.directory.absolute() / f"lane-{number}", waiting, done))
    return Sweep(
        command=options.command,
        seconds=round(monotonic() - began, 1),
        tasks=TASKS * len(outcomes),
        outcomes=outcomes,
    )


async def _lane(directory: Path, waiting: deque[Cell], done: Tell) -> None:
    for life in count(1):
        if not waiting:
            return
        await _live(directory / str(life), waiting, done)


async def _live(directory: Path, waiting: deque[Cell], done: Tell) -> None:
    """One cluster, for as many cells as go well."""
    failpoints = directory / "failpoints"
    failpoints.mkdir(parents=True)
    layout = Layout(
        evidence=directory,
        config=CONFIG,
        workers=2,
        processes=1,
        apis=2,
        reapers=2,
        failpoints=failpoints,
    )
    async with open_cluster(layout) as cluster, open_session() as session:
        await prepare(cluster.postgres, accounts=ACCOUNTS, cents=CENTS)
        bench = Bench(cluster, session, Noted(cluster.history))
        while waiting:
            outcome = await _try(bench, waiting.popleft())
            done(outcome)
            if outcome.verdict is Verdict.INVALID or not outcome.ended:
                return


async def _try(bench: Bench, cell: Cell) -> Outcome:
    try:
        return await run_cell(bench, cell)
    except Exception as error:  # of the harness: nothing is known of the cell
        said = f"it broke off: {type(error).__name__}: {error}"
        return Outcome(cell=cell, verdict=Verdict.UNKNOWN, complaints=[said], ended=False)
