"""The checker of operations on many tasks finds wrong and repeated changes."""

from __future__ import annotations

from typing import Any

import pytest

from leaseq_chaos.checkers.bulk import check
from leaseq_chaos.evidence import Evidence
from leaseq_chaos.history import Kind
from leaseq_chaos.verdict import Verdict
from support.synthetic_history import Forged

INSIDE, BESIDE = ("t1", "t2"), ("t3",)
ENDED = {"state": "done", "total": 2, "done": 2, "refused": 0}


def told(action: str, times: dict[str, int], **report: Any) -> Evidence:
    """A run in which an operation acted on each task so many times."""
    run = Forged()
    for number, task in enumerate((*INSIDE, *BESIDE)):
        at = float(number)
        run.submit((at, at + 0.2), task, task)
        run.step(at + 0.1, task, "FAILED" if action == "redrive" else "SCHEDULED", 1)
    when = 10.0
    for task in (*INSIDE, *BESIDE):
        for _ in range(times.get(task, 0)):
            run.step(when, task, "SCHEDULED" if action == "redrive" else "CANCELLED", 1)
            if action == "redrive":
                run.step(when + 0.1, task, "FAILED", 1)
            when += 1.0
    said = {"action": action, "operation": "o1", "count": 2, "set": INSIDE}
    last = said | {"beside": BESIDE} | ENDED | report
    kind = Kind.OK if last["state"] == "done" else Kind.INFO
    run.did("bulk", (9.0, 30.0), kind=kind, process="bulk", said=said, heard=last)
    return run.evidence()


@pytest.mark.parametrize("action", ["redrive", "cancel"])
def test_each_task_of_the_set_once_is_valid(action: str) -> None:
    finding = check(told(action, {"t1": 1, "t2": 1}))
    assert finding.verdict is Verdict.VALID, finding
    assert (finding.facts["operations"], finding.facts["acted"]) == (1, 2)


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (told("redrive", {"t1": 2, "t2": 1}, done=3), "and acted on 2 times"),
        (told("redrive", {"t1": 1, "t2": 1, "t3": 1}, done=3), "submitted after the preview"),
        (told("cancel", {"t1": 1, "t2": 1, "t3": 1}, done=3), "submitted after the preview"),
        (told("cancel", {"t1": 1}, done=1), "and it never came"),
        (told("cancel", {"t1": 1, "t2": 1}, done=1), "reports 1 tasks, and 2 were changed"),
        (told("redrive", {"t1": 1}, state="running"), "did not end"),
        (told("redrive", {"t1": 1, "t2": 1}, count=1), "counted 1 of 2 tasks"),
    ],
)
def test_what_must_not_be_is_found(evidence: Evidence, words: str) -> None:
    finding = check(evidence)
    assert finding.verdict is Verdict.INVALID
    assert any(words in violation.said for violation in finding.violations), finding.violations


def test_a_run_without_such_an_operation_is_valid() -> None:
    run = Forged()
    run.life("t1", "k1")
    assert check(run.evidence()).verdict is Verdict.VALID
