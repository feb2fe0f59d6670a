"""The checker of erasures finds content that stays, and wrongly freed keys."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from leaseq_chaos.checkers.erasures import check
from leaseq_chaos.evidence import Erased, Evidence, Found, Recorded, Tombstones
from leaseq_chaos.history import Kind
from leaseq_chaos.verdict import Verdict
from support.synthetic_history import Forged

ERASED, KEPT, FREED, WAITING = "t1", "t2", "t3", "t4"
REFUSED = {"code": "task_conflict", "http": 409}
ROWS = {
    ERASED: Erased(ERASED, "SUCCESS", True, False, 0, 0, ""),
    FREED: Erased(FREED, "FAILED", False, True, 2, 1, None),
    WAITING: Erased(WAITING, "SCHEDULED", False, False, 1, 0, "abc"),
}
FOUND = [Found("tasks", "mark-2-"), Found("attempts", "mark-2-")]
DONE = [Recorded("erase", ERASED, "done"), Recorded("free_key", FREED, "done")]
# Request, task, whether it has to be granted, kind of the answer, its content.
ASKED: list[tuple[str, str, bool, Kind, dict[str, Any]]] = [
    ("erase", ERASED, True, Kind.OK, {}),
    ("free-key", FREED, True, Kind.OK, {}),
    ("resubmit", FREED, True, Kind.OK, {"task": "t5"}),
    ("free-key", FREED, True, Kind.OK, {}),
    ("resubmit", FREED, True, Kind.OK, {"task": "t5"}),
    ("erase", WAITING, False, Kind.FAIL, REFUSED),
    ("free-key", WAITING, False, Kind.FAIL, REFUSED),
]


def told(
    *,
    row: Erased | None = None,
    found: list[Found] | None = None,
    operations: list[Recorded] | None = None,
    asked: dict[int, tuple[Kind, dict[str, Any]]] | None = None,
) -> Evidence:
    """A run after which one task was erased, and the key of another one was freed twice. `asked`:
    other answers to the requests with these numbers."""
    run = Forged()
    run.submit((1.0, 1.2), "k1", ERASED)
    for number, (op, task, fit, kind, heard) in enumerate(ASKED):
        kind, heard = (asked or {}).get(number, (kind, heard))
        span, value = (2.0 + number, 2.5 + number), {"fit": fit}
        run.did(op, span, kind=kind, task=task, said=value, heard=value | heard)
    rows = ROWS if row is None else ROWS | {row.task_id: row}
    left = Tombstones(
        marks={ERASED: "mark-1-", KEPT: "mark-2-"},
        erased=list(rows.values()),
        found=FOUND if found is None else found,
        operations=DONE if operations is None else operations,
    )
    return replace(run.evidence(), tombstones=left)


def test_what_is_erased_and_freed_as_it_has_to_be_is_valid() -> None:
    finding = check(told())
    assert finding.verdict is Verdict.VALID, finding
    assert (finding.facts["erase"], finding.facts["free-key"]) == (1, 1)


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (told(found=[*FOUND, Found("operations", "mark-1-")]), "operations holds its mark"),
        (told(row=replace(ROWS[ERASED], contents=1)), "1 columns of content"),
        (told(row=replace(ROWS[ERASED], attempts=2)), "2 attempts"),
        (told(row=replace(ROWS[ERASED], fingerprint="abc")), "its key tells of its content"),
        (told(row=replace(ROWS[ERASED], erased=False)), "the operator was answered otherwise"),
        (told(row=replace(ROWS[FREED], fingerprint="abc")), "still stands for it"),
        (told(row=replace(ROWS[FREED], key_freed=False)), "the operator was answered otherwise"),
        (told(row=replace(ROWS[WAITING], contents=0)), "its payload is gone"),
        (told(row=replace(ROWS[WAITING], fingerprint=None)), "its key is gone"),
        (told(operations=DONE[1:]), "no operation is recorded as done"),
        (told(asked={2: (Kind.OK, {"task": FREED})}), "still gets this task"),
        (told(asked={4: (Kind.OK, {"task": "t6"})}), "made t5 and t6"),
        (told(asked={0: (Kind.FAIL, REFUSED)}), "was refused with task_conflict"),
        (told(asked={5: (Kind.OK, {})}), "had to be refused, and was granted"),
        (told(asked={6: (Kind.FAIL, {"code": "task_not_found"})}), "and was task_not_found"),
    ],
)
def test_what_must_not_be_is_found(evidence: Evidence, words: str) -> None:
    finding = check(evidence)
    assert finding.verdict is Verdict.INVALID
    assert any(words in violation.said for violation in finding.violations), finding.violations


@pytest.mark.parametrize(
    "evidence",
    [told(found=[]), told(asked={0: (Kind.INFO, {"error": "reset"})})],
    ids=["a search that finds nothing", "a request without an answer"],
)
def test_what_proves_nothing_is_unknown(evidence: Evidence) -> None:
    assert check(evidence).verdict is Verdict.UNKNOWN


def test_a_run_without_an_operator_is_valid() -> None:
    assert check(replace(told(), tombstones=None)).verdict is Verdict.VALID
