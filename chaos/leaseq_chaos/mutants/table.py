"""Try the seeded bugs, and print which checker caught which."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed

from rich.console import Console
from rich.table import Table

from leaseq_chaos.mutants.catalogue import MUTANTS
from leaseq_chaos.mutants.trial import CONTROL, Outcome, Trial, try_out

__all__ = ["print_outcome", "print_table", "try_all", "word"]


def try_all(trials: Sequence[Trial], *, lanes: int) -> Iterator[Outcome]:
    """The outcome of each trial as it comes in. Each is a process of its own, `lanes` of them at a
    time."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(lanes, mp_context=context, max_tasks_per_child=1) as pool:
        for done in as_completed([pool.submit(try_out, trial) for trial in trials]):
            yield done.result()


def print_table(console: Console, outcomes: Sequence[Outcome]) -> None:
    """The controls first, then the mutants in the order of the catalogue."""
    table = Table(
        "mutant",
        "",
        "caught by",
        "scenario",
        "seed",
        "seconds",
        box=None,
        header_style="bold",
        padding=(0, 2, 0, 0),
    )
    table.columns[0].no_wrap = table.columns[3].no_wrap = True
    order = [CONTROL, *MUTANTS]
    for outcome in sorted(outcomes, key=lambda outcome: order.index(outcome.trial.mutant)):
        trial = outcome.trial
        colour = "green" if outcome.passed else "bold red"
        table.add_row(
            trial.mutant,
            f"[{colour}]{word(outcome)}[/{colour}]",
            ", ".join(outcome.caught) or "-",
            trial.provocation,
            str(trial.seed),
            f"{outcome.seconds:.0f}",
        )
    console.print(table)


def print_outcome(console: Console, outcome: Outcome) -> None:
    """One line, as soon as it is known; with the reason where it is not as it should be."""
    line = f"{outcome.trial.directory.name}: {word(outcome)} after {outcome.seconds:.0f} s"
    line += f" by {', '.join(outcome.caught)}" if outcome.caught else ""
    line += f"; this machine cannot do {', '.join(outcome.missed)}" if outcome.missed else ""
    line += f"; unknown: {', '.join(outcome.unsure)}" if outcome.unsure else ""
    line += f"; {outcome.said}" if outcome.said else ""
    console.print(line, markup=False, soft_wrap=True)


def word(outcome: Outcome) -> str:
    """The result."""
    if outcome.trial.mutant == CONTROL and outcome.judged:
        return str(outcome.verdict)
    if outcome.passed:
        return "killed"
    return "SURVIVED" if outcome.judged else "BROKE OFF"
