"""Check that the dead letters are the tasks that are FAILED (I28).

A statement that makes a task FAILED, or takes it out of this state, writes its dead letter in the
same transaction. So both tables agree at every moment, and the sums of changes with them. The
reconciler corrects what processes of an older version leave; in a run there are none, so it may
find nothing to correct.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from leaseq_chaos.checkers.answer import answer
from leaseq_chaos.checkers.index import task_of
from leaseq_chaos.evidence import Evidence
from leaseq_chaos.verdict import Finding, Violation

__all__ = ["check"]

INVARIANT = "A task has a dead letter exactly while it is FAILED."
CORRECTED = "letter.corrected"
# The columns of a dead letter, and those of the task that say the same.
SAME = {"queue": "queue", "type": "type", "failed_at": "finished_at"}

Row = dict[str, Any]


def check(evidence: Evidence) -> Finding:
    """Compare the snapshot of the dead letters with that of the tasks."""
    snapshot = evidence.snapshot
    failed = {task_of(row): row for row in snapshot.tasks if row["state"] == "FAILED"}
    letters = {row["task_id"]: row for row in snapshot.dead_letters or []}
    missing = None
    if snapshot.dead_letters is None:
        missing = "the dead letters were not read"
    elif not snapshot.tasks:
        missing = "there are no tasks"
    return answer(
        "dead_letters",
        INVARIANT,
        missing=missing,
        said=f"{len(letters):,} dead letters were compared with {len(failed):,} FAILED tasks",
        violations=[
            *_compare(failed, letters),
            *_counts(letters, snapshot.letter_counts),
            *_corrections(evidence),
        ],
        facts={"dead letters": len(letters)},
    )


def _compare(failed: dict[str, Row], letters: dict[str, Row]) -> Iterator[Violation]:
    for task in failed.keys() - letters.keys():
        yield Violation("FAILED, and no dead letter", task)
    for task in letters.keys() - failed.keys():
        yield Violation("a dead letter, and not FAILED", task)
    for task in failed.keys() & letters.keys():
        for column, of_task in SAME.items():
            if letters[task][column] != failed[task][of_task]:
                yield Violation(
                    f"{column} of its dead letter is {letters[task][column]}, and not "
                    f"{failed[task][of_task]}",
                    task,
                )


def _counts(letters: dict[str, Row], counted: list[Row]) -> Iterator[Violation]:
    listed = Counter((row["queue"], row["type"]) for row in letters.values())
    told = {(row["queue"], row["type"]): int(row["letters"]) for row in counted}
    for queue, type_name in sorted(listed.keys() | told.keys()):
        there, summed = listed[queue, type_name], told.get((queue, type_name), 0)
        if there != summed:
            yield Violation(
                f"{there} dead letters of {type_name} in {queue}, and the sum of changes is {summed}"
            )


def _corrections(evidence: Evidence) -> Iterator[Violation]:
    for heard in evidence.logs:
        if heard.said.get("event") == CORRECTED:
            yield Violation(
                f"the reconciler has added {heard.said.get('added')} dead letters and removed "
                f"{heard.said.get('removed')}",
                at=heard.at,
            )
