"""Check that every success had its effect exactly once (I4).

A transactional handler writes one row without any constraint to keep it from doing so twice.
Exactly one row for a SUCCESS, under the attempt that succeeded and in the transaction that recorded
it; none for a task that did not succeed. A plain handler notes its effect outside of Postgres: at
least once for a SUCCESS, and only under attempts that there were.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from leaseq_chaos.checkers.answer import answer
from leaseq_chaos.checkers.fates import PLAIN, TRANSACTIONAL
from leaseq_chaos.checkers.index import Index, index, no_commits, task_of
from leaseq_chaos.evidence import Evidence
from leaseq_chaos.verdict import Finding, Violation

__all__ = ["check"]

INVARIANT = "The effect of a transactional task is there exactly once if it succeeded, under that attempt, and never otherwise."


def check(evidence: Evidence) -> Finding:
    """Count effects by task, in the snapshot, in the commits and in the histories of the
    handlers."""
    found = index(evidence)
    rows = evidence.snapshot.effects
    noted = found.remarks.get("effect", [])
    return answer(
        "effects",
        INVARIANT,
        missing=no_commits(found),
        said=f"{len(rows):,} rows and {len(noted):,} effects elsewhere were compared with the ends of {len(found.rows):,} tasks",
        violations=[*_counted(found), *_together(found), *_plain(found)],
        facts={
            "rows": len(rows),
            "elsewhere": len(noted),
            "tasks with repeated effects elsewhere": _repeated(found),
        },
    )


def _counted(found: Index) -> Iterator[Violation]:
    """At the end: as many rows as the state of the task asks for."""
    written: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for effect in found.evidence.snapshot.effects:
        written[task_of(effect)].append(effect)
    for task, row in found.rows.items():
        effects = written.pop(task, [])
        due = 1 if row["state"] == "SUCCESS" and row["type"] in TRANSACTIONAL else 0
        under = [effect["attempt"] for effect in effects]
        if len(effects) != due:
            yield Violation(
                f"{row['type']} is {row['state']} and has {len(effects)} effects (attempts {under}), not {due}",
                task,
            )
        elif due and under != [row["attempt"]]:
            yield Violation(
                f"attempt {row['attempt']} succeeded, and the effect is of attempt {under[0]}", task
            )
    for task, effects in written.items():
        yield Violation(f"{len(effects)} effects of a task that is not in the ledger", task)


def _together(found: Index) -> Iterator[Violation]:
    """In the commits: an effect and the success of its attempt are one transaction."""
    succeeded = {
        (task, step.lsn, step.attempt)
        for task, steps in found.lives.items()
        for step in steps
        if step.state == "SUCCESS"
    }
    for placed in found.tables.get("effects", []):
        commit, task = placed.commit, task_of(placed.commit.row)
        if commit.verb != "insert":
            yield Violation(f"an effect was changed afterwards ({commit.verb})", task, commit.at)
        elif (task, commit.lsn, commit.row["attempt"]) not in succeeded:
            yield Violation(
                f"the effect of attempt {commit.row['attempt']} was committed without its success",
                task,
                commit.at,
            )


def _plain(found: Index) -> Iterator[Violation]:
    """Outside of Postgres: at least one, under the attempt that succeeded, and none out of
    nowhere."""
    noted = {(event.task, event.attempt) for event in found.remarks.get("effect", [])}
    for task, row in found.rows.items():
        if (
            row["type"] in PLAIN
            and row["state"] == "SUCCESS"
            and (task, row["attempt"]) not in noted
        ):
            yield Violation(
                f"attempt {row['attempt']} succeeded, and its handler noted no effect", task
            )
    for event in found.remarks.get("effect", []):
        claim = (event.task or "", event.attempt or 0)
        if (
            event.task in found.rows
            and claim not in found.claims
            and claim not in found.lost.claims
        ):
            yield Violation(
                f"an effect under attempt {event.attempt}, which no worker claimed",
                event.task,
                event.at,
            )


def _repeated(found: Index) -> int:
    attempts: dict[str | None, int] = defaultdict(int)
    for event in found.remarks.get("effect", []):
        attempts[event.task] += 1
    return sum(1 for count in attempts.values() if count > 1)
