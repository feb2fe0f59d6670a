"""Check that the ledger makes only the transitions of the table (I15).

The table is `leaseq.lifecycle.TRANSITIONS`. A task that has ended stays so, unless the history has
a client that requested a redrive. The snapshot agrees with the commits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from leaseq.lifecycle import TRANSITIONS
from leaseq_chaos.checkers.answer import answer
from leaseq_chaos.checkers.index import ENDED, GONE, Index, Step, index, no_commits
from leaseq_chaos.evidence import Evidence
from leaseq_chaos.verdict import Finding, Violation

__all__ = ["check"]

INVARIANT = "Every change of a task's state is in the table of transitions, and the end of a task is its end."

_ALLOWED = {(before.value if before else None, after.value) for before, _, after in TRANSITIONS}
_ALLOWED |= {(state, GONE) for state in ENDED}  # pruned
_REDRIVES = {
    (before.value, after.value)
    for before, verb, after in TRANSITIONS
    if verb == "redrive" and before
}


def check(evidence: Evidence) -> Finding:
    """Compare each pair of neighbouring states, and the last with the snapshot."""
    found = index(evidence)
    made: Counter[tuple[str | None, str]] = Counter()
    redriven = found.redriven()
    wrong = [
        one
        for task, steps in found.lives.items()
        for one in _life(task, steps, made, asked=task in redriven)
    ]
    return answer(
        "transitions",
        INVARIANT,
        missing=no_commits(found),
        said=f"{sum(made.values()):,} transitions of {len(found.lives):,} tasks were compared with the table",
        violations=[*wrong, *_snapshot(found)],
        facts={
            f"{before or 'submitted'} to {after}": float(count)
            for (before, after), count in sorted(made.items(), key=str)
        },
    )


def _life(
    task: str, steps: Sequence[Step], made: Counter[tuple[str | None, str]], *, asked: bool
) -> Iterator[Violation]:
    before: str | None = None
    for step in steps:
        pair = (before, step.state)
        made[pair] += 1
        if (before is None) != (step.verb == "insert"):
            yield Violation(
                f"{step.verb} to {step.state} where it was {before or 'not there'}", task, step.at
            )
        elif before == step.state:
            yield Violation(
                f"{step.state} changed its attempt or its owner (to {step.attempt}, {step.worker})",
                task,
                step.at,
            )
        elif pair not in _ALLOWED:
            yield Violation(
                f"{before} became {step.state}, which is not in the table", task, step.at
            )
        elif pair in _REDRIVES and not asked:
            yield Violation(
                f"{before} became {step.state}, but no client requested a redrive", task, step.at
            )
        if (step.worker is not None) != (step.state == "PROCESSING"):
            yield Violation(f"{step.state} with {step.worker or 'no worker'}", task, step.at)
        if step.state == "PROCESSING" and step.attempt < 1:
            yield Violation(f"PROCESSING with attempt {step.attempt}", task, step.at)
        before = step.state


def _snapshot(found: Index) -> Iterator[Violation]:
    """Only after a drain: before, the ledger moves on between the last commit that was recorded and
    the snapshot."""
    if not found.evidence.snapshot.drained:
        return
    for task, steps in found.lives.items():
        row = found.rows.get(task)
        said = (row["state"], row["attempt"]) if row else (GONE, None)
        led = (steps[-1].state, steps[-1].attempt if row else None) if steps else (GONE, None)
        if said != led:
            yield Violation(
                f"the commits lead to {led[0]} ({led[1]}), and the snapshot has {said[0]} ({said[1]})",
                task,
            )
