"""Which bug was caught by which checker? Tries them, some side by side, and prints what came of it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from leaseq_chaos.mutants.catalogue import MUTANTS
from leaseq_chaos.mutants.trial import CONTROL, Outcome, Trial, try_out

__all__ = ["print_table", "try_all"]


def try_all(trials: Sequence[Trial], *, lanes: int) -> Iterator[Outcome]:
    """The outcome of each trial as it comes in. Each is a process of its own, `lanes` of them at a time."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(lanes, mp_context=context, max_tasks_per_child=1) as pool:
        for done in as_completed([pool.submit(try_out, trial) for trial in trials]):
            yield done.result()


def print_table(console: Console, outcomes: Sequence[Outcome]) -> None:
    """The controls first, then the mutants in the order of the catalogue."""
    table = Table("mutant", "scenario", "seed", "caught by", "seconds", "", box=None, header_style="bold", padding=(0, 2, 0, 0))
    order = [CONTROL, *MUTANTS]
    for outcome in sorted(outcomes, key=lambda outcome: order.index(outcome.trial.mutant)):
        trial = outcome.trial
        table.add_row(
            trial.mutant,
            trial.provocation,
            str(trial.seed),
            ", ".join(outcome.caught) or "-",
            f"{outcome.seconds:.0f}",
            word(outcome),
        )
    console.print(table)


def word(outcome: Outcome) -> str:
    """What came of it, in a word or a few."""
    if outcome.trial.mutant == CONTROL:
        said = "valid" if outcome.passed else str(outcome.verdict)
    else:
        said = "killed" if outcome.passed else "SURVIVED"
    if outcome.passed:
        return f"[green]{said}[/green]"
    reasons = [f"cannot do {', '.join(outcome.missed)}"] if outcome.missed else []
    reasons += [f"unknown: {', '.join(outcome.unsure)}"] if outcome.unsure else []
    reasons += [outcome.said] if outcome.said else []
    return f"[bold red]{said}[/bold red] {escape('; '.join(reasons))}".strip()
