"""The checker of pauses allows only claims that were already under way."""

from __future__ import annotations

import pytest

from leaseq_chaos.checkers.paused import check
from leaseq_chaos.evidence import Evidence
from leaseq_chaos.verdict import Verdict
from support.synthetic_history import Forged


def told(
    claimed: float,
    *,
    queue: str = "side",
    resumed: float | None = 20.0,
    fault: tuple[str, float, float] | None = None,
) -> Evidence:
    """A task of `side` that is claimed at some second; a queue is paused at second 10."""
    run = Forged()
    for key, task in (("k1", "t1"), ("k2", "t2")):
        run.submit((1.0, 1.2), key, task)
    run.queue(0.5, queue)
    for key, task in (("k1", "t1"), ("k2", "t2")):
        run.step(1.1, task, "PENDING", key=key)
    for when, what in sorted([(10.0, "pause"), (claimed, "claim"), (resumed or 100.0, "resume")]):
        if what == "claim":
            run.step(when, "t1", "PROCESSING", 1, worker="w1")
        elif what == "pause" or resumed is not None:
            run.queue(when, queue, paused=what == "pause")
    for task, its in (("t1", "side"), ("t2", "default")):
        run.rows[task]["queue"] = its
    if fault is not None:
        name, began, ended = fault
        run.fault("f-1", name, (began, ended))
    return run.evidence()


@pytest.mark.parametrize(
    "evidence",
    [
        told(9.9),
        told(10.5),
        told(20.1),
        told(12.0, queue="default"),
        told(14.0, fault=("freeze-postgres", 9.0, 12.5)),
        told(15.0, fault=("lock-tasks", 10.2, 11.5)),
    ],
    ids=[
        "before",
        "under way",
        "after",
        "of another queue",
        "frozen on its way",
        "locked out on its way",
    ],
)
def test_operation_sent_before_may_take_effect_after(evidence: Evidence) -> None:
    finding = check(evidence)
    assert finding.verdict is Verdict.VALID, finding.violations
    assert finding.facts["pauses"] == 1


@pytest.mark.parametrize(
    "evidence",
    [
        told(11.5),
        told(19.9),
        told(30.0, resumed=None),
        told(14.0, fault=("flushall", 9.0, 12.5)),
        told(19.0, fault=("freeze-postgres", 9.0, 9.5)),
        told(19.0, fault=("freeze-postgres", 19.5, 21.0)),
        told(19.0, fault=("freeze-postgres", 18.5, 19.5)),
    ],
    ids=[
        "early",
        "at the end",
        "for good",
        "dispatch forgot",
        "long after a freeze",
        "before a freeze",
        "sent long after it",
    ],
)
def test_attempt_sent_while_its_queue_is_paused_is_found(evidence: Evidence) -> None:
    finding = check(evidence)
    assert finding.verdict is Verdict.INVALID
    assert [(one.task, "side was paused" in one.said) for one in finding.violations] == [
        ("t1", True)
    ]


def test_without_a_pause_there_is_nothing_to_say() -> None:
    run = Forged()
    run.life("t1", "k1")
    finding = check(run.evidence())
    assert (finding.verdict, finding.said) == (Verdict.VALID, "no queue was paused")
