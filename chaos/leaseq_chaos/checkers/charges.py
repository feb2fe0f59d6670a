"""Check that a task is charged only for its own crashes (I21, G7).

A crash is charged on first-hand evidence alone: the task ran alone, in a child that runs suspects
one at a time, and a supervisor saw that child die. Silence, a lapsed lease, a lost host or the
death of a process with several tasks are losses, which cost the task nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from leaseq_chaos.checkers.answer import answer
from leaseq_chaos.checkers.fates import POISON
from leaseq_chaos.checkers.index import Index, index, no_commits, task_of
from leaseq_chaos.evidence import Evidence
from leaseq_chaos.verdict import Finding, Violation

__all__ = ["check"]

INVARIANT = (
    "A crash is charged only to a task that ran alone, in a child that its supervisor saw die."
)


class _Charge(Struct, frozen=True):
    """One crash that was added to a task's count."""

    task: str
    worker: str
    attempt: int
    at: int


def check(evidence: Evidence) -> Finding:
    """Compare each charge with the reports of supervisors about the worker."""
    found = index(evidence)
    charges = list(_charges(found))
    said = {"child.started": set[str](), "child.died": set[str]()}
    for heard in evidence.logs:
        event = heard.said.get("event", "")
        if event == "child.died" or (event == "child.started" and heard.said.get("isolated")):
            said[event].add(str(heard.said.get("worker_id")))
    missing = no_commits(found)
    if missing is None and charges and not evidence.logs:
        missing = f"{len(charges)} crashes were charged, but there is no report of any supervisor"
    types = {task: str(row.get("type")) for task, row in found.rows.items()}
    return answer(
        "charges",
        INVARIANT,
        missing=missing,
        said=f"{len(charges):,} crashes were charged",
        violations=_wrong(charges, isolated=said["child.started"], died=said["child.died"]),
        facts={
            "charged": len(charges),
            "to poison": sum(1 for charge in charges if types.get(charge.task) in POISON),
        },
    )


def _charges(found: Index) -> Iterator[_Charge]:
    """Each growth of a task's count of crashes, with the attempt whose loss is in the same
    transaction."""
    lost = {
        (task_of(placed.commit.row), placed.commit.lsn): placed.commit.row
        for placed in found.tables.get("attempts", [])
        if placed.commit.row.get("outcome") == "lost"
    }
    counts: dict[str, int] = {}
    for commit in found.evidence.commits:
        if commit.table != "tasks" or commit.verb == "delete":
            continue
        task, count = task_of(commit.row), int(commit.row.get("crash_count") or 0)
        row = lost.get((task, commit.lsn))
        if count > counts.get(task, 0) and row is not None:
            yield _Charge(task, str(row.get("worker_id")), int(row["attempt"]), commit.at)
        counts[task] = count


def _wrong(charges: list[_Charge], *, isolated: set[str], died: set[str]) -> Iterator[Violation]:
    for charge in charges:
        if charge.worker not in isolated:
            said = f"charged with a crash of {charge.worker}, in which attempt {charge.attempt} need not have been alone"
            yield Violation(said, charge.task, charge.at)
        elif charge.worker not in died:
            yield Violation(
                f"charged with a crash of {charge.worker}, and no supervisor saw it die",
                charge.task,
                charge.at,
            )
