"""The command line of the sweep.

Exit codes as elsewhere: 0 all green, 1 something is wrong, 3 a point was not reached.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
import msgspec
import uvloop
from rich.console import Console

from leaseq_chaos.command_options import EXITS, lanes, out
from leaseq_chaos.progress import COLOURS
from leaseq_chaos.sweep.grid import PLACES, Action, cells
from leaseq_chaos.sweep.outcome import Outcome
from leaseq_chaos.sweep.paper import draw_grid, draw_page, said
from leaseq_chaos.sweep.sweep import Options
from leaseq_chaos.sweep.sweep import sweep as sweep_all
from leaseq_chaos.verdict import merged

__all__ = ["sweep"]


@click.command()
@click.option(
    "--only",
    "points",
    multiple=True,
    type=click.Choice(list(PLACES)),
    metavar="POINT",
    help="May be repeated.",
)
@click.option(
    "--action",
    "actions",
    multiple=True,
    type=click.Choice(list(map(str, Action))),
    help="May be repeated.",
)
@click.option(
    "--seed", type=int, default=1, show_default=True, help="Decides the order of the cells."
)
@lanes("Clusters side by side.")
@out("chaos-runs/sweep")
@click.option(
    "--publish",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the grid there, in Markdown.",
)
def sweep(
    points: tuple[str, ...],
    actions: tuple[str, ...],
    seed: int,
    lanes: int,
    out: Path,
    publish: Path | None,
) -> None:
    """Kill, stop, fail and cut off the services at every failpoint."""
    console = Console(highlight=False)
    options = Options(directory=out, seed=seed, lanes=lanes, points=points, actions=actions)
    total = len(cells(seed=seed, points=points, actions=actions))
    console.print(f"[bold]{options.command}[/bold]: {total} cells", soft_wrap=True)
    told = 0

    def tell(outcome: Outcome) -> None:
        nonlocal told
        told += 1
        console.print(f"{told:4}/{total} {_line(outcome)}", soft_wrap=True)
        for complaint in outcome.complaints:
            console.print(f"          {complaint}", soft_wrap=True, markup=False)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        done = runner.run(sweep_all(options, tell=tell))
    (out / "sweep.json").write_bytes(msgspec.json.format(msgspec.json.encode(done), indent=1))
    (out / "sweep.html").write_text(draw_page(done), encoding="utf-8")
    if publish is not None:
        publish.write_text(draw_grid(done), encoding="utf-8")
    console.print(f"{said(done)}\n{out / 'sweep.html'}", soft_wrap=True)
    raise SystemExit(EXITS[merged(outcome.verdict for outcome in done.outcomes)])


def _line(outcome: Outcome) -> str:
    counts = ", ".join(f"{heading} {count}" for heading, count in outcome.counts.items())
    verdict = f"[{COLOURS[outcome.verdict]}]{outcome.verdict:8}"
    return f"{verdict}[/] {outcome.cell.name:42} {outcome.seconds:5.1f} s  {outcome.reached_by:10} {counts}"
