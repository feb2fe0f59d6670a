"""Check that only the current attempt changes a task (I5, I7, I8).

Attempts count 1, 2, .., n in the order of commits. An attempt leaves PROCESSING by a settlement of
that attempt, by or for the worker that claimed it; it changes its owner in no other way. A closed
worker claims nothing. A success is one that its own attempt's handler returned, not a stale
one's.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from leaseq_chaos.checkers.answer import answer
from leaseq_chaos.checkers.index import EARLY, Index, index, last_attempt, no_commits, task_of
from leaseq_chaos.evidence import Evidence
from leaseq_chaos.history import Kind
from leaseq_chaos.verdict import Finding, Violation

__all__ = ["check"]

INVARIANT = "Attempts are numbered 1, 2, .., n, each has one owner, and only its owner, or who reaps it, ends it."


def check(evidence: Evidence) -> Finding:
    """Follow the fence through the commits of each task."""
    found = index(evidence)
    missing = no_commits(found)
    if (
        missing is None
        and not found.ops["run"]
        and any(row["state"] == "SUCCESS" for row in found.rows.values())
    ):
        missing = "there are successes and no history of any handler"
    settled = found.tables.get("attempts", [])
    return answer(
        "fences",
        INVARIANT,
        missing=missing,
        said=f"{len(found.claims):,} attempts were followed, of which {len(settled):,} ended without success",
        violations=[
            *_numbers(found),
            *_doors(found),
            *_settlements(found),
            *_closed(found),
            *_returned(found),
        ],
        facts={"attempts": len(found.claims), "ended without success": len(settled)},
    )


def _numbers(found: Index) -> Iterator[Violation]:
    for task, steps in found.lives.items():
        current = 0
        for step in steps:
            due = current + 1 if step.state == "PROCESSING" else current
            if step.attempt != due:
                yield Violation(
                    f"{step.state} has attempt {step.attempt} where {due} was due", task, step.at
                )
            current = max(current, step.attempt)


def _doors(found: Index) -> Iterator[Violation]:
    """Out of PROCESSING only by a settlement: a row in `attempts` in the same transaction, or
    SUCCESS."""
    settled = {
        (task_of(placed.commit.row), placed.commit.lsn)
        for placed in found.tables.get("attempts", [])
    }
    for task, steps in found.lives.items():
        for before, step in pairwise(steps):
            if before.state != "PROCESSING":
                continue
            if step.state == "PROCESSING":
                passed = f"attempt {before.attempt} of {before.worker} to attempt {step.attempt} of {step.worker}"
                yield Violation(f"passed from {passed} without a settlement", task, step.at)
            elif step.state != "SUCCESS" and (task, step.lsn) not in settled:
                yield Violation(
                    f"attempt {before.attempt} went to {step.state}, and its end was not recorded",
                    task,
                    step.at,
                )


def _settlements(found: Index) -> Iterator[Violation]:
    """The recorded end of an attempt belongs to the claim that was current, and has the recorded
    outcome."""
    after = {
        (task, step.lsn): (before, step)
        for task, steps in found.lives.items()
        for before, step in pairwise(steps)
    }
    seen = set()
    for placed in found.tables.get("attempts", []):
        commit, row, task = placed.commit, placed.commit.row, task_of(placed.commit.row)
        if commit.verb == "delete":
            continue
        attempt, worker = last_attempt(row), row.get("worker_id")
        if (task, attempt) in seen:
            yield Violation(f"attempt {attempt} was ended twice", task, commit.at)
        seen.add((task, attempt))
        before, step = after.get((task, commit.lsn), (None, None))
        if before is None or step is None or before.state != "PROCESSING":
            yield Violation(
                f"an end of attempt {attempt} ({row.get('outcome')}) was recorded and ended nothing",
                task,
                commit.at,
            )
        elif (attempt, worker) != (before.attempt, before.worker):
            yield Violation(
                f"attempt {attempt} of {worker} ended attempt {before.attempt} of {before.worker}",
                task,
                commit.at,
            )
        elif row.get("next_state", step.state) != step.state:
            yield Violation(
                f"attempt {attempt} was to go to {row['next_state']} and went to {step.state}",
                task,
                commit.at,
            )


def _closed(found: Index) -> Iterator[Violation]:
    closings: dict[str, int] = {}
    for placed in found.tables.get("workers", []):
        if placed.commit.row.get("closed_at") is not None:
            closings.setdefault(str(placed.commit.row["id"]), placed.order)
    for (task, attempt), claim in found.claims.items():
        closing = closings.get(claim.worker or "")
        if closing is not None and closing < claim.order:
            yield Violation(
                f"{claim.worker} claimed attempt {attempt} after it was closed", task, claim.at
            )


def _returned(found: Index) -> Iterator[Violation]:
    """A success belongs to an attempt whose handler has returned, and not to another one."""
    returned: dict[tuple[str | None, int | None], int | None] = {}
    for op in found.ops["run"]:
        if op.kind is Kind.OK:
            # The first one: a claim that a failover has lost may have the same number, and its
            # handler return later.
            returned.setdefault((op.task, op.attempt), op.ended)
    for task, steps in found.lives.items():
        for step in steps:
            if step.state == "SUCCESS":
                at = returned.get((task, step.attempt))
                if at is None or at > step.at + EARLY:
                    yield Violation(
                        f"SUCCESS under attempt {step.attempt}, whose handler had not returned",
                        task,
                        step.at,
                    )
