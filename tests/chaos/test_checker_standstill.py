"""Faults of a run, their times, and the time without an excuse."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from leaseq_chaos.checkers.faults import Calendar, faults_of
from leaseq_chaos.checkers.standstill import Standstill, workerless
from leaseq_chaos.evidence import Heard
from leaseq_chaos.history import Event, Kind
from support.synthetic_history import Forged, at


def test_the_faults_of_a_run() -> None:
    forged = Forged()
    forged.fault("f-1", "flushall", (10, 10))
    half = {"nemesis": "kill-api"}
    forged.events += [
        Event(at(20), "nemesis", Kind.INVOKE, "fault", key="f-2", value=half),
        Event(
            at(21),
            "nemesis",
            Kind.FAIL,
            "fault",
            key="f-2",
            value={**half, "reason": "nobody lives"},
        ),
        Event(at(30), "nemesis", Kind.INVOKE, "fault", key="f-3", value=half),
    ]
    faults = faults_of(forged.evidence())
    assert [(fault.number, fault.told) for fault in faults] == [("f-1", True), ("f-3", False)]
    assert (faults[1].began, faults[1].ended) == (at(30), at(60)), "never healed"


@pytest.mark.parametrize(
    ("start", "end", "found"),
    [(0, 0.5, ""), (0, 1, "a"), (3, 4, "ab"), (6, 7, "a"), (8, 20, "ac"), (31, 40, "")],
)
def test_a_calendar_finds_what_was_open(start: float, end: float, found: str) -> None:
    forged = Forged()
    for number, span in (("a", (1, 10)), ("b", (3, 5)), ("c", (12, 30))):
        forged.fault(number, "stall-valkey", span)
    calendar = Calendar(faults_of(forged.evidence()))
    assert sorted(fault.number for fault in calendar.open_in(at(start), at(end))) == list(found)


@pytest.mark.parametrize(("until", "longest"), [(12, 2), (15, 3), (16, 3), (40, 3), (47, 7)])
def test_a_standstill_is_what_lies_between_pauses(until: int, longest: int) -> None:
    """Pauses may begin before it, lie within each other, and come when it is over."""
    assert Standstill(10, [(50, 60), (13, 40), (14, 15), (0, 5), (0, 10)]).until(until) == longest


def test_when_no_worker_was_up() -> None:
    forged = Forged()
    for when, event, worker in (
        (1, "worker.opened", "w1"),
        (10, "child.died", "w1"),
        (15, "worker.opened", "w2"),
    ):
        forged.logs.append(
            Heard(at(when), "worker-1", {"event": event, "worker_id": worker, "isolated": False})
        )
    forged.fault("f-2", "kill-worker", (40, 41), workers=("w2", "unheard of"))
    evidence = forged.evidence()
    assert workerless(evidence, faults_of(evidence)) == [
        (at(0), at(1)),
        (at(10), at(15)),
        (at(40), at(60)),
    ]
    isolated = Heard(
        at(12), "worker-1", {"event": "worker.opened", "worker_id": "w3", "isolated": True}
    )
    assert workerless(replace(evidence, logs=[*evidence.logs, isolated]), []) == [
        (at(0), at(1)),
        (at(10), at(15)),
    ]
    assert workerless(replace(evidence, logs=[]), []) == [], "nothing is known"
