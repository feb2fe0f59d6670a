"""Check that a task keeps its labels until it is erased or deleted (I29).

The statement that inserts a task inserts its labels, and the one that erases it deletes them. So no
crash separates a task from its labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from leaseq_chaos.checkers.answer import answer
from leaseq_chaos.checkers.index import Index, index, no_history
from leaseq_chaos.evidence import Evidence
from leaseq_chaos.history import Kind
from leaseq_chaos.verdict import Finding, Violation

__all__ = ["check"]

INVARIANT = (
    "An accepted task has the labels of its submission, and an erased or deleted one has none."
)

Labels = Mapping[str, str]


def check(evidence: Evidence) -> Finding:
    """Compare the labels in the ledger with those that were submitted."""
    found, rows = index(evidence), evidence.snapshot.labels
    stored: dict[str, dict[str, str]] = {}
    for row in rows or []:
        stored.setdefault(row["task_id"], {})[row["name"]] = row["value"]
    wanted = {
        op.task: op.said.get("labels") or {} for op in found.accepted() if op.task is not None
    }
    missing = no_history(found)
    if missing is None and rows is None:
        missing = "the labels were not read"
    return answer(
        "labels",
        INVARIANT,
        missing=missing,
        said=f"{len(rows or []):,} labels of {len(stored):,} tasks were compared with {len(wanted):,} submissions",
        violations=[
            *_differing(found, wanted, stored),
            *_left(found, stored),
            *_tenants(found, rows or []),
            *_erased(found, stored),
        ],
        facts={"labels": len(rows or []), "labelled": len(stored)},
    )


def _differing(
    found: Index, wanted: Mapping[str, Labels], stored: Mapping[str, Labels]
) -> Iterator[Violation]:
    for task, labels in wanted.items():
        there = stored.get(task, {})
        if task in found.rows and there != labels:
            yield Violation(f"submitted with the labels {labels}, and has {there}", task)


def _left(found: Index, stored: Mapping[str, Labels]) -> Iterator[Violation]:
    for task in stored.keys() - found.rows.keys():
        yield Violation("has labels, and is not in the ledger", task)


def _tenants(found: Index, rows: list[dict[str, Any]]) -> Iterator[Violation]:
    for row in rows:
        tenant = found.rows.get(row["task_id"], {}).get("tenant", row["tenant"])
        if tenant != row["tenant"]:
            said = f"its label {row['name']} is of the tenant {row['tenant']}, and the task of {tenant}"
            yield Violation(said, row["task_id"])


def _erased(found: Index, stored: Mapping[str, Labels]) -> Iterator[Violation]:
    """After the drain an operator erases tasks. The others keep their labels."""
    left = found.evidence.tombstones
    if left is None:
        return
    erased = {event.task for event in found.remarks.get("erase", []) if event.kind is Kind.OK}
    labelled = set(left.labelled)
    for task in sorted(stored):
        if task in erased and task in labelled:
            yield Violation("erased, and its labels are still there", task)
        elif task not in erased and task not in labelled and labelled:
            yield Violation("its labels are gone, and it was not erased", task)
