"""The command line of the chaos suite.

Exit codes: 0 valid, 1 invalid, 2 bad usage (click's own), 3 unknown. Unknown is not a pass.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import click
import uvloop
from rich.console import Console

from leaseq_chaos.command_options import DIRECTORY, EXITS, lanes, out
from leaseq_chaos.mutants.catalogue import MUTANTS
from leaseq_chaos.mutants.table import print_outcome, print_table, try_all
from leaseq_chaos.mutants.trial import trials_of
from leaseq_chaos.nemesis.catalogue import NEMESES
from leaseq_chaos.progress import Narrator
from leaseq_chaos.run import Options, judged
from leaseq_chaos.run import run as run_once
from leaseq_chaos.scenarios import SCENARIOS
from leaseq_chaos.sweep.command import sweep
from leaseq_chaos.totals import totals_of
from leaseq_chaos.verdict import merged

__all__ = ["main"]

PAPER_WIDTH = 140  # of a table that is not on a terminal


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Break leaseq on purpose, and judge whether it kept its promises."""


@main.command()
@click.argument(
    "scenarios",
    nargs=-1,
    required=True,
    type=click.Choice(sorted(SCENARIOS)),
    metavar="SCENARIO...",
)
@click.option(
    "--seed",
    type=int,
    default=1,
    show_default=True,
    help="Same seed, same schedule; each further scenario adds one.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(0.05),
    default=2.0,
    show_default=True,
    help="Length of the storm of each scenario.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 16),
    default=2,
    show_default=True,
    help="Worker services, two children each.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0.01),
    default=1.0,
    show_default=True,
    help="Times the tasks; less for a slow machine.",
)
@out("chaos-runs")
@click.option(
    "--tree", type=DIRECTORY, help="A source tree to run in place of the installed leaseq."
)
@click.option(
    "--old", "other_tree", type=DIRECTORY, help="A source tree of another version, to be mixed in."
)
def run(scenarios: tuple[str, ...], seed: int, out: Path, **rest: Any) -> None:
    """Run scenarios one after the other; the verdict of all together is the exit code."""
    console = Console(highlight=False)
    narrator = Narrator(console)
    directories = []
    for number, name in enumerate(scenarios):
        options = Options(
            scenario=SCENARIOS[name],
            seed=seed + number,
            directory=out / f"{name}-{seed + number}",
            **rest,
        )
        narrator.begin(options.command)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            findings = runner.run(run_once(options, show=narrator.show))
        narrator.end(findings, str(options.directory / "report.html"))
        directories.append(options.directory)
    totals = totals_of(directories)
    console.print(str(totals), soft_wrap=True)
    raise SystemExit(EXITS[totals.verdict])


@main.command()
@click.argument(
    "directories",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
)
def judge(directories: tuple[Path, ...]) -> None:
    """Judge the evidence of earlier runs again, with the checkers of today."""
    narrator = Narrator(Console(highlight=False))
    verdicts = []
    for evidence in directories:
        narrator.begin(f"leaseq-chaos judge {evidence}")
        findings = judged(evidence)
        narrator.end(findings, str(evidence / "report.html"))
        verdicts.append(merged(finding.verdict for finding in findings))
    raise SystemExit(EXITS[merged(verdicts)])


@main.command(name="list")
def list_all() -> None:
    """List the scenarios and the faults that each may bring."""
    console = Console(highlight=False)
    for name, scenario in sorted(SCENARIOS.items()):
        console.print(f"[bold]{name}[/bold]: {scenario.about}", soft_wrap=True)
        console.print(f"  {', '.join(sorted(scenario.nemeses))}", soft_wrap=True)
    console.print(f"{len(NEMESES)} kinds of fault in all", soft_wrap=True)


@main.command()
@click.argument("names", nargs=-1, type=click.Choice(sorted(MUTANTS)), metavar="[NAME]...")
@click.option(
    "--seed", type=int, help="For all of them, in place of the seed that each is known to fall by."
)
@lanes("How many are tried at the same time.")
@out("chaos-runs/mutants")
def mutants(names: tuple[str, ...], seed: int | None, lanes: int, out: Path) -> None:
    """Prove that the suite can fail: put known bugs into copies of the code, and tell which checker
    caught which."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PAPER_WIDTH)
    outcomes = []
    for outcome in try_all(
        trials_of([MUTANTS[name] for name in names or MUTANTS], out=out, seed=seed), lanes=lanes
    ):
        outcomes.append(outcome)
        print_outcome(console, outcome)
    print_table(console, outcomes)
    raise SystemExit(0 if all(outcome.passed for outcome in outcomes) else 1)


main.add_command(sweep)
