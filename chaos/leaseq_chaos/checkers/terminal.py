"""Check that no attempt starts after its task has ended (I6).

The order of commits is the authority: no claim after a terminal state. A handler that starts late,
under an attempt that was claimed in time and taken away since, is legal (its writes are fenced);
one that starts under an attempt that no worker claimed, or before the claim, or for the second
time, is not.
"""

from __future__ import annotations

from collections.abc import Iterator

from leaseq_chaos.checkers.answer import answer, milliseconds
from leaseq_chaos.checkers.index import EARLY, ENDED, Index, Step, index, no_commits
from leaseq_chaos.evidence import Evidence
from leaseq_chaos.verdict import Finding, Violation

__all__ = ["check"]

INVARIANT = "No attempt starts after its task has ended, and every start of a handler is of an attempt that was claimed."


def check(evidence: Evidence) -> Finding:
    """Walk the commits of each task, and look up the claim of each start."""
    found = index(evidence)
    runs = found.ops["run"]
    return answer(
        "terminal",
        INVARIANT,
        missing=no_commits(found),
        said=f"{len(found.claims):,} claims and {len(runs):,} starts of handlers were looked at",
        violations=[*_claims(found), *_starts(found)],
        facts={"claims": len(found.claims), "starts": len(runs)},
    )


def _claims(found: Index) -> Iterator[Violation]:
    for task, steps in found.lives.items():
        ended: Step | None = None
        for step in steps:
            if step.state in ENDED:
                ended = step
            elif step.state == "PENDING" and ended is not None and ended.state != "SUCCESS":
                ended = None  # redriven; `transitions` checks whether that was requested
            elif step.state == "PROCESSING" and ended is not None:
                over = f"attempt {ended.attempt} ended in {ended.state}"
                yield Violation(f"attempt {step.attempt} was claimed after {over}", task, step.at)


def _starts(found: Index) -> Iterator[Violation]:
    started: dict[tuple[str, int | None], str] = {}
    for op in found.ops["run"]:
        task = op.task or ""
        claim = found.claims.get((task, op.attempt or 0))
        if (task, op.attempt or 0) in found.lost.claims:
            # claimed where it was lost; another start under the same number is of the claim that
            # was not
            continue
        if claim is None:
            yield Violation(
                f"{op.process} started attempt {op.attempt}, which no worker claimed",
                task,
                op.began,
            )
        elif op.began and claim.at > op.began + EARLY:
            early = milliseconds(claim.at - op.began)
            yield Violation(
                f"{op.process} started attempt {op.attempt} {early} before it was claimed",
                task,
                op.began,
            )
        if (task, op.attempt) in started and (task, op.attempt or 0) not in found.lost.endings:
            other = started[task, op.attempt]
            yield Violation(
                f"attempt {op.attempt} was started twice, by {other} and by {op.process}",
                task,
                op.began,
            )
        started[task, op.attempt] = op.process
