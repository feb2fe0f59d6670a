"""Standstill is measured, excused during other faults, and bounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from leaseq_chaos.checkers import recovery
from leaseq_chaos.evidence import Heard
from leaseq_chaos.verdict import Finding, Verdict
from support.synthetic_history import Forged, at


def taken(
    forged: Forged, task: str, *, lost: float, again: float, kind: str = "note", worker: str = "w1"
) -> None:
    """A task that runs under a worker at 10 s, is taken from it, and claimed once more."""
    begin(forged, task, kind=kind)
    forged.step(9.9, task, "PROCESSING", 1, worker=worker)
    forged.step(lost, task, "PENDING", 1, by=(1, worker, "lost"))
    forged.step(again, task, "PROCESSING", 2, worker="w2")
    forged.step(again + 0.1, task, "SUCCESS", 2)


def begin(forged: Forged, task: str, *, kind: str = "note", when: float = 9.0) -> None:
    forged.submit((when - 0.1, when + 0.1), f"key-{task}", task)
    forged.step(when, task, "PENDING", key=f"key-{task}", kind=kind)


def waiting(forged: Forged, task: str, *, claimed: float, kind: str = "note") -> None:
    """A task that is PENDING from 9 s until it is claimed."""
    begin(forged, task, kind=kind)
    forged.step(claimed, task, "PROCESSING", 1, worker="w2")
    forged.step(claimed + 0.1, task, "SUCCESS", 1)


def judged(forged: Forged) -> Finding:
    return recovery.check(forged.evidence())


def test_a_killed_child_whose_task_runs_again_at_once() -> None:
    forged = Forged()
    forged.fault("f-1", "kill-child", (10, 10), workers=("w1",))
    taken(forged, "t1", lost=10.2, again=10.5)
    taken(forged, "t2", lost=10.2, again=12.0)
    taken(forged, "t3", lost=13, again=20, worker="w3")
    begin(forged, "t4")
    forged.step(9.9, "t4", "PROCESSING", 1, worker="w1")
    forged.step(10.005, "t4", "SUCCESS", 1)
    finding = judged(forged)
    assert (finding.verdict, finding.violations) == (Verdict.VALID, []), (
        "w3 was not hit, and t4 had ended"
    )
    facts = {
        name.removeprefix("kill-child "): value
        for name, value in finding.facts.items()
        if name.startswith("kill-child ")
    }
    assert facts.pop("judged") == facts.pop("longest") == 2.0
    assert facts == {
        "count": 2,
        "faults": 1,
        "queued": 0,
        "alone": 2,
        "p50": 0.5,
        "p99": 2.0,
        "max": 2.0,
        "bound": 3.0,
    }


def slow_child(forged: Forged) -> None:
    forged.fault("f-1", "kill-child", (10, 10), workers=("w1",))
    taken(forged, "t1", lost=10.2, again=13.5)


def late_reap(forged: Forged) -> None:
    forged.fault("f-1", "kill-worker", (10, 11), workers=("w1", "w9"))
    taken(forged, "t1", lost=15.5, again=15.6)


def frozen(forged: Forged) -> None:
    forged.fault("f-1", "freeze-worker", (10, 14), workers=("w1",))
    taken(forged, "t1", lost=15.2, again=15.3)


def never_again(forged: Forged) -> None:
    forged.fault("f-1", "kill-worker", (10, 11), workers=("w1",))
    begin(forged, "t1")
    forged.step(9.9, "t1", "PROCESSING", 1, worker="w1")


def suspect_kept(forged: Forged) -> None:
    """It may wait for an isolation child, but back in its queue it has to be in time."""
    forged.fault("f-1", "kill-worker", (20, 21), workers=("w2",))
    begin(forged, "t1")
    forged.step(9.9, "t1", "PROCESSING", 1, worker="w1")
    forged.step(10.2, "t1", "PENDING", 1, by=(1, "w1", "lost"))
    forged.step(19.9, "t1", "PROCESSING", 2, worker="w2")
    forged.step(25.5, "t1", "PENDING", 2, by=(2, "w2", "lost"))


def stranded(forged: Forged) -> None:
    forged.fault("f-1", "flushall", (10, 10))
    waiting(forged, "t1", claimed=18.5)


def settle_forgotten(forged: Forged) -> None:
    """A quick handler settles long after Postgres is back."""
    forged.fault("f-1", "restart-postgres", (9.5, 11))
    begin(forged, "t1")
    forged.step(9.4, "t1", "PROCESSING", 1, worker="w1")
    forged.step(20, "t1", "SUCCESS", 1)


def unpushed(forged: Forged) -> None:
    """The API was killed between commit and push, and no reaper looked for the task."""
    forged.fault("f-1", "kill-api", (9.05, 10))
    waiting(forged, "t1", claimed=19)


def after_another(forged: Forged) -> None:
    """Another fault excuses only as long as it is open."""
    forged.fault("f-1", "kill-child", (10, 10), workers=("w1",))
    forged.fault("f-2", "freeze-valkey", (11, 14))
    taken(forged, "t1", lost=10.2, again=22.5)


def unbroken_before_another(forged: Forged) -> None:
    """It should have gone on long before the second fault came."""
    forged.fault("f-1", "kill-child", (10, 10), workers=("w1",))
    forged.fault("f-2", "flushall", (19, 19))
    taken(forged, "t1", lost=10.2, again=19.5)


def others_die(forged: Forged) -> None:
    """That children die elsewhere is no excuse."""
    forged.fault("f-1", "flushall", (10, 10))
    for number, when in (("f-2", 13), ("f-3", 16)):
        forged.fault(number, "kill-child", (when, when), workers=("w9",))
    waiting(forged, "t1", claimed=19)


def redriven(forged: Forged) -> None:
    """It was a suspect; a redrive clears that."""
    forged.fault("f-1", "flushall", (20, 20))
    begin(forged, "t1")
    for attempt, state, outcome in (
        (1, "PENDING", "lost"),
        (2, "PENDING", "lost"),
        (3, "FAILED", "errored"),
    ):
        forged.step(9.1 + attempt, "t1", "PROCESSING", attempt, worker="w1")
        forged.step(9.2 + attempt, "t1", state, attempt, by=(attempt, "w1", outcome))
    forged.step(18.9, "t1", "SCHEDULED", 3)
    forged.step(19, "t1", "PENDING", 3)
    forged.step(30, "t1", "PROCESSING", 4, worker="w1")
    forged.step(30.1, "t1", "SUCCESS", 4)


def left_behind(forged: Forged) -> None:
    """The line moved, and ended; this one was not in it."""
    a_line(forged)
    waiting(forged, "t1", claimed=38.5)


def the_line_stood(forged: Forged) -> None:
    forged.fault("f-1", "flushall", (10, 10))
    for i in range(40):
        waiting(forged, f"t{i + 1}", claimed=18.5 + i / 2)


def no_child_came_up_in_time(forged: Forged) -> None:
    """There was a worker again from 15 s on."""
    no_worker(forged)
    waiting(forged, "t1", claimed=23.5)


def stuck_beside_a_line(forged: Forged) -> None:
    """That others are claimed does not excuse who has been claimed already."""
    forged.fault("f-1", "restart-postgres", (9.5, 10))
    begin(forged, "t1")
    forged.step(9.4, "t1", "PROCESSING", 1, worker="w1")
    forged.step(28, "t1", "SUCCESS", 1)
    for i in range(40):
        waiting(forged, f"line-{i}", claimed=10.3 + i / 2)


def passed_over(forged: Forged) -> None:
    """That others end, which were claimed long ago, is no line."""
    forged.fault("f-1", "flushall", (10, 10))
    waiting(forged, "t1", claimed=19)
    for i in range(4):
        begin(forged, f"ran-{i}")
        forged.step(9.5, f"ran-{i}", "PROCESSING", 1, worker="w1")
        forged.step(12 + 2 * i, f"ran-{i}", "SUCCESS", 1)


def too_late_to_excuse(forged: Forged) -> None:
    """The larger bound of what came afterwards is for another one."""
    slow_child(forged)
    taken(forged, "t2", lost=10.2, again=16)
    forged.fault("f-2", "flushall", (15, 15))


def not_passed(forged: Forged) -> None:
    """A task that passes in a backlog came later, has the smaller id, and is in the same lane: each
    of these misses one."""
    forged.fault("f-1", "flushall", (10, 10))
    for i in range(40):
        forged.step(8, f"s{i}", "SCHEDULED")
    begin(forged, "t1")
    for i in range(40):
        forged.step(10.2 + i / 2, f"s{i}", "PENDING")
        forged.step(10.3 + i / 2, f"s{i}", "PROCESSING", 1, worker="w2")
        forged.step(10.4 + i / 2, f"s{i}", "SUCCESS", 1)
        later(forged, f"u{i}", claimed=10.5 + i / 2)
        later(forged, f"q{i}", claimed=10.5 + i / 2, queue="elsewhere")
        later(forged, f"r{i}", claimed=10.5 + i / 2, priority=1)
    forged.step(31, "t1", "PROCESSING", 1, worker="w2")
    forged.step(31.1, "t1", "SUCCESS", 1)


BAD = [
    slow_child, late_reap, frozen, never_again, suspect_kept, stranded, settle_forgotten, unpushed, after_another,
    unbroken_before_another, others_die, redriven,
    left_behind, the_line_stood, no_child_came_up_in_time,
    stuck_beside_a_line, passed_over, too_late_to_excuse, not_passed,
]  # fmt: skip


@pytest.mark.parametrize("lie", BAD, ids=[lie.__name__ for lie in BAD])
def test_too_long_is_found(lie: Callable[[Forged], None]) -> None:
    forged = Forged()
    lie(forged)
    finding = judged(forged)
    assert finding.verdict is Verdict.INVALID
    assert "t1" in {violation.task for violation in finding.violations}
    assert any(
        "f-1" in violation.said and "the bound is" in violation.said
        for violation in finding.violations
    )


def brief_freeze(forged: Forged) -> None:
    """Its quick task settles itself after the thaw, its slow ones later still."""
    forged.fault("f-1", "freeze-worker-briefly", (10, 11.5), workers=("w1",))
    for task, kind, end in (("t1", "note", 11.6), ("t2", "slow", 30), ("t3", "hang", 31)):
        begin(forged, task, kind=kind)
        forged.step(9.9, task, "PROCESSING", 1, worker="w1")
        forged.step(end, task, "SUCCESS", 1)


def slow_through_a_flush(forged: Forged) -> None:
    forged.fault("f-1", "flushall", (10, 10))
    begin(forged, "t1", kind="slow")
    forged.step(9.5, "t1", "PROCESSING", 1, worker="w1")
    forged.step(30, "t1", "SUCCESS", 1)
    waiting(forged, "t2", claimed=10.5)


def suspect_waits(forged: Forged) -> None:
    """Two losses: it waits for the one slot of an isolation child, which measures nothing."""
    forged.fault("f-1", "kill-worker", (20, 21), workers=("w2",))
    forged.fault("f-2", "flushall", (24, 24))
    begin(forged, "t1")
    forged.step(9.9, "t1", "PROCESSING", 1, worker="w1")
    forged.step(10.2, "t1", "PENDING", 1, by=(1, "w1", "lost"))
    forged.step(19.9, "t1", "PROCESSING", 2, worker="w2")
    forged.step(23, "t1", "PENDING", 2, by=(2, "w2", "lost"))
    forged.step(40, "t1", "PROCESSING", 3, worker="w3")
    forged.step(40.1, "t1", "SUCCESS", 3)


def poison(forged: Forged) -> None:
    forged.fault("f-1", "kill-child", (10, 10), workers=("w1",))
    taken(forged, "t1", lost=13, again=30, kind="segfault")
    taken(forged, "t2", lost=10.1, again=10.2)


def excused(forged: Forged) -> None:
    """Valkey was frozen soon after the kill, and flushed after that."""
    forged.fault("f-1", "kill-child", (10, 10), workers=("w1",))
    forged.fault("f-2", "freeze-valkey", (11, 15))
    forged.fault("f-3", "flushall", (20, 20))
    taken(forged, "t1", lost=10.2, again=27)


def shortly_before(forged: Forged) -> None:
    """Data that was flushed just before is still being rebuilt."""
    forged.fault("f-1", "flushall", (9.5, 9.5))
    forged.fault("f-2", "kill-child", (10, 10), workers=("w1",))
    taken(forged, "t1", lost=10.2, again=15)


def given_longer(forged: Forged) -> None:
    forged._bounds = {"flushall": 20.0}
    stranded(forged)


def a_line(forged: Forged) -> None:
    """Forty tasks for a worker that takes two in a second."""
    forged.fault("f-1", "flushall", (10, 10))
    for i in range(40):
        waiting(forged, f"line-{i}", claimed=10.3 + i / 2)


def later(forged: Forged, task: str, *, claimed: float, **more: Any) -> None:
    """A task that comes a moment before it is claimed."""
    begin(forged, task, when=claimed - 0.1)
    forged.step(claimed, task, "PROCESSING", 1, worker="w2", **more)
    forged.step(claimed + 0.1, task, "SUCCESS", 1)


def named_ahead(forged: Forged) -> None:
    """The client's clock was ahead, so that its task stood at the end of the backlog; then a clock
    was set back."""
    forged.fault("f-1", "flushall", (10, 10))
    begin(forged, "t9")
    for i in range(40):
        later(forged, f"t5-{i}", claimed=10.5 + i / 2)
    forged.step(31, "t9", "PROCESSING", 1, worker="w2")
    forged.step(31.1, "t9", "SUCCESS", 1)


def no_worker(forged: Forged) -> None:
    """The only one dies when it is flushed, and the next takes five seconds to start."""
    forged.fault("f-1", "flushall", (10, 10))
    for when, event, worker in (
        (1, "worker.opened", "w1"),
        (10, "child.died", "w1"),
        (15, "worker.opened", "w2"),
    ):
        forged.logs.append(
            Heard(at(when), "worker-1", {"event": event, "worker_id": worker, "isolated": False})
        )


def waited_for_a_worker(forged: Forged) -> None:
    no_worker(forged)
    waiting(forged, "t1", claimed=22.5)


def nobody_known_was_struck(forged: Forged) -> None:
    """A worker was killed that held nothing yet; a task waited for another reason."""
    forged.fault("f-1", "kill-worker", (10, 11))
    waiting(forged, "t1", claimed=30)
    forged.fault("f-2", "kill-child", (40, 40), workers=("w1",))
    begin(forged, "t2", when=39)
    forged.step(39.5, "t2", "PROCESSING", 1, worker="w1")
    forged.step(40.2, "t2", "PENDING", 1, by=(1, "w1", "lost"))
    forged.step(40.3, "t2", "PROCESSING", 2, worker="w2")
    forged.step(40.4, "t2", "SUCCESS", 2)


GOOD = [
    brief_freeze,
    slow_through_a_flush,
    suspect_waits,
    poison,
    excused,
    shortly_before,
    given_longer,
    a_line,
    named_ahead,
    waited_for_a_worker,
    nobody_known_was_struck,
]


@pytest.mark.parametrize("truth", GOOD, ids=[truth.__name__ for truth in GOOD])
def test_crash_without_a_culprit_is_valid(truth: Callable[[Forged], None]) -> None:
    forged = Forged()
    truth(forged)
    finding = judged(forged)
    assert (finding.verdict, finding.violations) == (Verdict.VALID, [])


def test_task_touched_by_another_fault_is_reported() -> None:
    forged = Forged()
    excused(forged)
    facts = judged(forged).facts
    assert (facts["kill-child count"], facts["kill-child alone"]) == (1, 0)
    assert (facts["kill-child judged"], facts["kill-child longest"]) == (0.0, 17.0), (
        "the bound of a flush applied"
    )
    assert "kill-child max" not in facts, "nobody was alone with the fault"


def test_queued_recoveries_are_counted_apart() -> None:
    forged = Forged()
    a_line(forged)
    facts = judged(forged).facts
    assert (facts["flushall count"], facts["flushall queued"]) == (40, 24)
    assert (facts["flushall max"], facts["flushall longest"]) == (7.79, 19.79)


def test_where_workers_have_room_for_everything_a_line_excuses_nothing() -> None:
    forged = Forged()
    a_line(forged)
    evidence = forged.evidence()
    finding = recovery.check(replace(evidence, run=replace(evidence.run, has_room=True)))
    assert finding.verdict is Verdict.INVALID
    assert finding.facts["flushall queued"] == 0


def test_work_during_a_fault_is_not_counted() -> None:
    forged = Forged()
    forged.fault("f-1", "delay-valkey", (10, 12))
    waiting(forged, "t1", claimed=11)
    waiting(forged, "t2", claimed=12.5)
    facts = judged(forged).facts
    assert (facts["delay-valkey count"], facts["delay-valkey p50"]) == (1, 0.5)


def test_a_claim_that_was_on_its_way_counts_from_its_commit() -> None:
    forged = Forged()
    forged.fault("f-1", "freeze-worker", (9, 13), workers=("w1",))
    taken(forged, "t1", lost=11, again=11.9)
    assert judged(forged).facts["freeze-worker max"] == 2.0


def test_a_lone_worker_can_go_on_after_the_heal_only() -> None:
    def run(workers: int) -> Finding:
        forged = Forged(workers=workers)
        forged.fault("f-1", "kill-worker", (10, 16), workers=("w1",))
        taken(forged, "t1", lost=12.2, again=16.5)
        return judged(forged)

    assert run(2).verdict is Verdict.INVALID
    assert run(1).facts["kill-worker max"] == 0.5


def test_unfinished_task_without_a_fault_is_a_violation() -> None:
    forged = Forged()
    forged.fault("f-1", "kill-child", (10, 10), workers=("w1",))
    taken(forged, "t1", lost=10.1, again=10.2)
    begin(forged, "t2", when=30)
    finding = judged(forged)
    assert finding.verdict is Verdict.INVALID
    assert [(violation.task, violation.said) for violation in finding.violations] == [
        ("t2", "still PENDING 50.0 s after the last heal")
    ]


def test_of_nothing_nothing_is_known() -> None:
    assert judged(Forged()).verdict is Verdict.UNKNOWN


def test_faults_without_a_victim_prove_nothing() -> None:
    forged = Forged()
    forged.life("t1", "k1")
    forged.fault("f-1", "kill-child", (30, 30), workers=("w1",))
    finding = judged(forged)
    assert finding.verdict is Verdict.UNKNOWN
    assert "interrupted no work" in finding.said


def test_without_faults_only_the_end_is_judged() -> None:
    forged = Forged()
    forged.life("t1", "k1")
    forged.fault("f-1", "poison-segfault", (0.2, 0.2))
    assert judged(forged).verdict is Verdict.VALID
    begin(forged, "t2", when=30)
    assert judged(forged).verdict is Verdict.INVALID
