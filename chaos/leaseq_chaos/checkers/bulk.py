"""Check that an operation changes each task of its set once, and no other (I30).

The set is fixed by the preview. A step changes tasks and moves the position in one transaction, so
that a kill of the process that works on it, or of Postgres, repeats nothing and leaves out nothing.
That a cancel or a redrive of any other task was requested is checked by `poison` and `transitions`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from leaseq_chaos.checkers.answer import answer
from leaseq_chaos.checkers.index import Index, Step, index, no_commits
from leaseq_chaos.evidence import Evidence
from leaseq_chaos.history import Event, Kind
from leaseq_chaos.verdict import Finding, Violation

__all__ = ["check"]

INVARIANT = (
    "An operation on many tasks ends, and acts on each task of its set once and on no other."
)
BEFORE_A_REDRIVE = ("FAILED", "CANCELLED")


def check(evidence: Evidence) -> Finding:
    """Compare the reports of the operations with the commits."""
    found = index(evidence)
    reports = _reports(found.remarks.get("bulk", []))
    acted = sum(
        _count(found, report, task) for report in reports.values() for task in report["set"]
    )
    return answer(
        "bulk",
        INVARIANT,
        missing=no_commits(found) if reports else None,
        said=f"{len(reports)} operations acted on {acted} tasks"
        if reports
        else "no operation on many tasks was requested",
        violations=[
            violation for report in reports.values() for violation in _violations(found, report)
        ],
        facts={"operations": len(reports), "acted": acted},
    )


def _reports(events: list[Event]) -> dict[str, Mapping[str, Any]]:
    """The last report of each operation."""
    reports: dict[str, Mapping[str, Any]] = {}
    for event in events:
        if isinstance(event.value, dict) and event.kind is not Kind.FAIL:
            reports[event.value["operation"]] = event.value
    return reports


def _violations(found: Index, report: Mapping[str, Any]) -> Iterator[Violation]:
    action, inside, beside = report["action"], report["set"], report.get("beside", [])
    if report.get("state") != "done":
        yield Violation(f"the {action} {report['operation']} did not end")
        return
    counts = {task: _count(found, report, task) for task in (*inside, *beside)}
    for task in inside:
        if counts[task] > 1:
            yield Violation(f"in the set of a {action}, and acted on {counts[task]} times", task)
    for task in beside:
        if counts[task]:
            yield Violation(f"a {action} acted on it, and it was submitted after the preview", task)
    if found.lost.touched.isdisjoint(counts):
        yield from _omitted(report, counts)


def _omitted(report: Mapping[str, Any], counts: Mapping[str, int]) -> Iterator[Violation]:
    """Where no failover has lost commits of these tasks, the numbers are exact."""
    action, inside, acted = report["action"], report["set"], sum(counts.values())
    if report["count"] != len(inside):
        yield Violation(
            f"the preview of a {action} counted {report['count']} of {len(inside)} tasks"
        )
    for task in inside:
        if not counts[task]:
            yield Violation(f"in the set of a {action} that has ended, and it never came", task)
    if report["done"] != acted:
        yield Violation(f"the {action} reports {report['done']} tasks, and {acted} were changed")


def _count(found: Index, report: Mapping[str, Any], task: str) -> int:
    """How often the action was done to a task."""
    steps = found.lives.get(task, [])
    if report["action"] == "cancel":
        return sum(1 for step in steps if step.state == "CANCELLED")
    return sum(1 for before, step in pairwise(steps) if _is_redrive(before, step))


def _is_redrive(before: Step, step: Step) -> bool:
    return before.state in BEFORE_A_REDRIVE and step.state == "SCHEDULED"
