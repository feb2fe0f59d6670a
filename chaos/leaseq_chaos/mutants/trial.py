"""Try one seeded bug.

A copy of the tree, with the patch in it, is run under the scenario that brings the bug out. A
control is the same without a patch, and has to be valid: else the scenario asks for more than was
promised, and what it says of a mutant means nothing. Invariant: a mutant counts as killed only by a
checker of which that was expected; that a run broke off, or that the machine could not do a fault,
kills nothing.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec
import uvloop
from msgspec import Struct

from leaseq_chaos.evidence import Run
from leaseq_chaos.mutants.catalogue import MUTANTS, Mutant
from leaseq_chaos.mutants.patching import copy_tree, patched
from leaseq_chaos.mutants.provocations import PROVOCATIONS
from leaseq_chaos.run import Options, Progress, run
from leaseq_chaos.verdict import Finding, Verdict, merged

__all__ = ["CONTROL", "Outcome", "Trial", "trials_of", "try_out"]

CONTROL = "(none)"
WORKERS = 2
SLOW = 2.0  # from so many times slower than usual on, bounds are too wide for some bugs
# a task that is stuck for longer than this is lost, in scenarios whose faults are all healed
PATIENCE_SECONDS = 20.0


class Trial(Struct, frozen=True, kw_only=True):
    """One run to be made."""

    mutant: str  # or CONTROL
    provocation: str
    seed: int
    minutes: float
    directory: Path


class Outcome(Struct, frozen=True, kw_only=True):
    """The result of a trial."""

    trial: Trial
    judged: bool  # did it come to a verdict at all?
    verdict: Verdict
    caught: list[str]  # by these checkers
    unsure: list[str]  # of these the answer is unknown
    missed: list[str]  # faults that this machine cannot do
    said: str  # the first violation, or why there is none or no verdict
    seconds: float

    @property
    def passed(self) -> bool:
        """Is it as it should be: a control valid, a mutant killed?"""
        if self.trial.mutant == CONTROL:
            return self.verdict is Verdict.VALID
        return not MUTANTS[self.trial.mutant].expected.isdisjoint(self.caught)


def trials_of(mutants: Iterable[Mutant], *, out: Path, seed: int | None = None) -> list[Trial]:
    """Each mutant under its scenario, and before them each of these scenarios, as long as it is
    needed, without any."""
    wanted = list(mutants)
    trials = []
    for name in dict.fromkeys(mutant.provocation for mutant in wanted):
        longest = max(
            (mutant for mutant in wanted if mutant.provocation == name),
            key=lambda mutant: mutant.minutes,
        )
        trials.append(_trial(longest, CONTROL, out / f"control-{name}", seed))
    return trials + [_trial(mutant, mutant.name, out / mutant.name, seed) for mutant in wanted]


def _trial(mutant: Mutant, name: str, directory: Path, seed: int | None) -> Trial:
    return Trial(
        mutant=name,
        provocation=mutant.provocation,
        seed=mutant.seed if seed is None else seed,
        minutes=mutant.minutes,
        directory=directory,
    )


def try_out(trial: Trial) -> Outcome:
    """Make the run, and judge it. For a process of its own: it has no loop yet."""
    began = time.monotonic()
    findings: list[Finding] = []
    missed: list[str] = []
    trouble = slow = ""
    with tempfile.TemporaryDirectory(prefix="leaseq-mutant-") as place:
        try:
            tree = copy_tree(Path(place))
            if trial.mutant != CONTROL:
                patched(MUTANTS[trial.mutant].patch, tree)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                findings = runner.run(run(_options(trial, tree), show=_show_nothing))
            record = msgspec.json.decode((trial.directory / "run.json").read_bytes(), type=Run)
            missed = [skip.nemesis for skip in record.skips]
            slow = (
                f"the machine was {record.slowness:.1f} times slower than usual, and bounds as wide"
                if record.slowness > SLOW
                else ""
            )
        except Exception as error:  # one that breaks off does not keep the others from being tried
            trouble = f"{type(error).__name__}: {error}"
    violations = [
        f"{finding.checker}: {violation.said}"
        for finding in findings
        for violation in finding.violations
    ]
    return Outcome(
        trial=trial,
        judged=bool(findings),
        verdict=merged(finding.verdict for finding in findings),
        caught=[finding.checker for finding in findings if finding.verdict is Verdict.INVALID],
        unsure=[finding.checker for finding in findings if finding.verdict is Verdict.UNKNOWN],
        missed=missed,
        said=trouble or next(iter(violations), slow),
        seconds=time.monotonic() - began,
    )


def _options(trial: Trial, tree: Path) -> Options:
    # A control is made again with any of the mutants that need it.
    name = next(
        name
        for name, mutant in MUTANTS.items()
        if trial.mutant in (name, CONTROL) and mutant.provocation == trial.provocation
    )
    return Options(
        scenario=PROVOCATIONS[trial.provocation],
        seed=trial.seed,
        minutes=trial.minutes,
        workers=WORKERS,
        directory=trial.directory,
        tree=tree,
        patience_seconds=PATIENCE_SECONDS,
        repeat=f"leaseq-chaos mutants {name} --seed {trial.seed}",
    )


def _show_nothing(_: Progress) -> None:
    return
