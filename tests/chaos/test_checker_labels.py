"""The checker of labels finds labels that are missing, wrong or left over."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from leaseq_chaos.checkers.labels import check
from leaseq_chaos.evidence import Evidence, Tombstones
from leaseq_chaos.history import Kind
from leaseq_chaos.verdict import Verdict
from support.synthetic_history import Forged

KEPT, ERASED, PLAIN = "t1", "t2", "t3"
LABELS = {"shard": "3", "number": "3"}
STORED: list[dict[str, Any]] = [
    {"task_id": task, "tenant": "default", "name": name, "value": value}
    for task in (KEPT, ERASED)
    for name, value in LABELS.items()
]


def told(
    stored: list[dict[str, Any]] | None = STORED, *, labelled: tuple[str, ...] = (KEPT,)
) -> Evidence:
    """A run with two tasks that have labels, of which an operator has erased one."""
    run = Forged()
    for number, (task, labels) in enumerate(((KEPT, LABELS), (ERASED, LABELS), (PLAIN, None))):
        said = {"labels": labels} if labels else {}
        run.did("submit", (number, number + 0.2), key=task, task=task, said=said, heard={})
        run.step(number + 0.1, task, "PENDING", key=task, tenant="default")
    run.did("erase", (5.0, 5.1), kind=Kind.OK, task=ERASED)
    left = Tombstones(marks={}, erased=[], found=[], operations=[], labelled=list(labelled))
    evidence = run.evidence()
    return replace(evidence, snapshot=replace(evidence.snapshot, labels=stored), tombstones=left)


def test_labels_as_they_were_submitted_are_valid() -> None:
    finding = check(told())
    assert finding.verdict is Verdict.VALID, finding
    assert finding.facts["labelled"] == 2


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (told(STORED[1:]), "and has {'number': '3'}"),
        (told([STORED[0] | {"value": "4"}, *STORED[1:]]), "'shard': '4'"),
        (told([*STORED, STORED[0] | {"task_id": PLAIN}]), "submitted with the labels {}"),
        (told([*STORED, STORED[0] | {"task_id": "t9"}]), "and is not in the ledger"),
        (told([STORED[0] | {"tenant": "acme"}, *STORED[1:]]), "is of the tenant acme"),
        (told(labelled=(KEPT, ERASED)), "erased, and its labels are still there"),
        (told(labelled=("t8",)), "its labels are gone, and it was not erased"),
    ],
)
def test_what_differs_is_found(evidence: Evidence, words: str) -> None:
    finding = check(evidence)
    assert finding.verdict is Verdict.INVALID
    assert any(words in violation.said for violation in finding.violations), finding.violations


def test_a_run_of_before_there_were_labels_is_unknown() -> None:
    assert check(told(None)).verdict is Verdict.UNKNOWN
