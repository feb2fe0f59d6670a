"""The watch counts states and reports obvious errors."""

from __future__ import annotations

from typing import Any

from leaseq_chaos.evidence import Commit
from leaseq_chaos.watch import Watch


def _seen(*rows: tuple[str, str, dict[str, Any]]) -> Watch:
    watch = Watch()
    for number, (table, verb, row) in enumerate(rows):
        watch.see(Commit(number, number, number, table, verb, row))
    return watch


def _state(task: str, state: str, verb: str = "update") -> tuple[str, str, dict[str, Any]]:
    return ("tasks", verb, {"task_id": task, "state": state})


def test_a_good_life_is_counted() -> None:
    watch = _seen(
        _state("a", "PENDING", "insert"),
        _state("b", "SCHEDULED", "insert"),
        _state("a", "PROCESSING"),
        _state("a", "PROCESSING"),  # progress was set
        ("effects", "insert", {"task_id": "a"}),
        _state("a", "SUCCESS"),
    )
    assert (watch.states["SUCCESS"], watch.states["SCHEDULED"], watch.states["PROCESSING"]) == (
        1,
        1,
        0,
    )
    assert watch.violations == []


def test_illegal_transition_is_reported() -> None:
    assert (
        "from SUCCESS to PROCESSING"
        in _seen(
            _state("a", "PENDING", "insert"),
            _state("a", "PROCESSING"),
            _state("a", "SUCCESS"),
            _state("a", "PROCESSING"),
        ).violations[0]
    )


def test_second_effect_is_reported() -> None:
    twice = ("effects", "insert", {"task_id": "a"})
    assert "twice" in _seen(twice, twice).violations[0]


def test_the_creation_may_come_too_late_to_be_seen_after_a_failover() -> None:
    table, verb, row = _state("a", "PROCESSING")
    for timeline, kind, cries in ((2, verb, 0), (1, verb, 1), (2, "insert", 1)):
        watch = Watch()
        watch.see(Commit(1, 1, 1, table, kind, row, timeline=timeline))
        assert len(watch.violations) == cries, (timeline, kind)
