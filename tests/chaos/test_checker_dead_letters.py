"""The checker of dead letters finds where they disagree with the tasks."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from leaseq_chaos.checkers.dead_letters import check
from leaseq_chaos.evidence import Evidence, Heard
from leaseq_chaos.verdict import Verdict
from support.synthetic_history import Forged

FAILED, DONE = "t1", "t2"
ROW = {"queue": "default", "type": "refuse"}
TASKS: list[dict[str, Any]] = [
    {"task_id": FAILED, "state": "FAILED", "finished_at": 7.5, **ROW},
    {"task_id": DONE, "state": "SUCCESS", "finished_at": 8.0, **ROW},
]
LETTER: dict[str, Any] = {
    "task_id": FAILED,
    "tenant": "default",
    "code": "error",
    "failed_at": 7.5,
    **ROW,
}
COUNTED = [{"letters": 1, **ROW}]


def told(
    letters: list[dict[str, Any]] | None,
    *,
    counted: list[dict[str, Any]] | None = None,
    corrected: bool = False,
) -> Evidence:
    evidence = Forged().evidence()
    snapshot = replace(
        evidence.snapshot,
        tasks=TASKS,
        dead_letters=letters,
        letter_counts=COUNTED if counted is None else counted,
    )
    said = {"event": "letter.corrected", "added": 1, "removed": 0}
    logs = [Heard(5, "reaper", said)] if corrected else []
    return replace(evidence, snapshot=snapshot, logs=logs)


def test_dead_letters_that_agree_are_valid() -> None:
    finding = check(told([LETTER]))
    assert finding.verdict is Verdict.VALID, finding
    assert finding.facts["dead letters"] == 1


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (told([], counted=[]), "FAILED, and no dead letter"),
        (told([LETTER, LETTER | {"task_id": DONE}]), "a dead letter, and not FAILED"),
        (told([LETTER | {"task_id": "t3"}]), "a dead letter, and not FAILED"),
        (told([LETTER | {"failed_at": 7.4}]), "failed_at of its dead letter is 7.4, and not 7.5"),
        (told([LETTER | {"queue": "mail"}]), "queue of its dead letter"),
        (told([LETTER], counted=[]), "the sum of changes is 0"),
        (told([LETTER], counted=[*COUNTED, {"letters": -1, "queue": "a", "type": "b"}]), "is -1"),
        (told([LETTER], corrected=True), "has added 1 dead letters"),
    ],
)
def test_what_disagrees_is_found(evidence: Evidence, words: str) -> None:
    finding = check(evidence)
    assert finding.verdict is Verdict.INVALID
    assert any(words in violation.said for violation in finding.violations), finding.violations


def test_a_run_of_before_there_were_dead_letters_is_unknown() -> None:
    assert check(told(None)).verdict is Verdict.UNKNOWN
