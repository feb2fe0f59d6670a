"""Check that poison fails alone, and that every task ends as its type may (I12).

A task that kills its worker each time ends in FAILED with the code `crashed` after `max_crashes`
crashes of its own. A task that merely ran beside it never ends so. All others end as `fates.FATES`
defines, and are CANCELLED only if a client requested it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from leaseq_chaos.checkers.answer import answer
from leaseq_chaos.checkers.fates import CRASHED, FATES, POISON
from leaseq_chaos.checkers.index import ENDED, Index, index, no_history
from leaseq_chaos.evidence import Evidence
from leaseq_chaos.history import Kind
from leaseq_chaos.verdict import Finding, Violation

__all__ = ["check"]

INVARIANT = "A poison task is given up after its bound of crashes, and every other task ends as its type should."

_DEFAULT_MAX_CRASHES = 3


def check(evidence: Evidence) -> Finding:
    """Compare the end of each task with the table of fates."""
    found = index(evidence)
    ended = {task: row for task, row in found.rows.items() if row["state"] in ENDED}
    types = Counter(str(row["type"]) for row in ended.values())
    strangers = sorted({str(row["type"]) for row in found.rows.values()} - FATES.keys())
    missing = no_history(found)
    if missing is None and not ended:
        missing = "no task has ended"
    elif missing is None and strangers:
        missing = f"how a task of the type {strangers[0]} should end is not in the table of fates"
    return answer(
        "poison",
        INVARIANT,
        missing=missing,
        said=f"the ends of {len(ended):,} tasks of {len(types)} types, {sum(types[name] for name in POISON):,} of them poison",
        violations=[] if missing else [*_ends(found), *_crashes(found)],
        facts={"ended": len(ended), "poison": sum(types[name] for name in POISON)},
    )


def _ends(found: Index) -> Iterator[Violation]:
    asked = {op.task for op in found.ops["cancel"] if op.kind is not Kind.FAIL}
    for task, row in found.rows.items():
        state, code = row["state"], row.get("error_code")
        if state not in ENDED or any(fate.allows(state, code) for fate in FATES[row["type"]]):
            continue
        if state != "CANCELLED":
            due = " or ".join(map(str, FATES[row["type"]]))
            yield Violation(
                f"{row['type']} ended in {state} ({code or 'no code'}), and {due} was due", task
            )
        elif task not in asked:
            yield Violation(f"{row['type']} ended in CANCELLED, but no client requested that", task)


def _crashes(found: Index) -> Iterator[Violation]:
    bound = int(found.evidence.run.config.get("LEASEQ_MAX_CRASHES", _DEFAULT_MAX_CRASHES))
    for task, row in found.rows.items():
        crashes = int(row.get("crash_count") or 0)
        if crashes > bound:
            yield Violation(
                f"{row['type']} was charged with {crashes} crashes, and {bound} is the bound", task
            )
        elif row.get("error_code") == CRASHED and row["state"] == "FAILED" and crashes < bound:
            yield Violation(
                f"{row['type']} was given up after {crashes} crashes, and {bound} is the bound",
                task,
            )
