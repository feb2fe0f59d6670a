"""Promote begins behind earlier promotions, and still finds late rows."""

from __future__ import annotations

from leaseq.ledger.due_tasks import Due
from leaseq_reaper.duties.due_positions import (
    REREAD_SECONDS,
    WHOLE_REST,
    WHOLE_REST_CAP_SECONDS,
    DuePositions,
)
from support.reaper import FakeClock


def look(positions: DuePositions, clock: FakeClock, *, seconds: float) -> list[Due]:
    """One look that takes so long; the positions at which it began."""
    known = positions.begin()
    clock.now += seconds
    positions.end()
    return known


def test_every_look_is_a_whole_one_while_looks_are_quick() -> None:
    clock = FakeClock()
    positions = DuePositions(clock)
    for _ in range(5):
        positions.promoted([(Due("q", 0, "2030-01-01", "a"), 1000)])
        assert look(positions, clock, seconds=0.002) == []
        clock.now += 0.1


def test_where_looks_are_slow_most_begin_where_promotions_stood_a_while_ago() -> None:
    clock = FakeClock()
    positions = DuePositions(clock)
    first, second = Due("q", 0, "2030-01-01", "a"), Due("q", 0, "2030-01-02", "a")
    positions.promoted([(first, 1000)])
    assert look(positions, clock, seconds=2.0) == []
    clock.now += REREAD_SECONDS - 2.5
    positions.promoted([(second, 1000)])
    assert look(positions, clock, seconds=0.0) == []  # noted a moment ago: it may still be passed
    clock.now += 1.0
    assert look(positions, clock, seconds=0.0) == [first]
    clock.now += REREAD_SECONDS
    assert look(positions, clock, seconds=0.0) == [second]


def test_a_whole_look_comes_back_after_its_rest_and_that_is_bounded() -> None:
    clock = FakeClock()
    positions = DuePositions(clock)
    positions.promoted([(Due("q", 0, "2030-01-01", "a"), 1000)])
    for took, rest in ((2.0, WHOLE_REST * 2.0), (600.0, WHOLE_REST_CAP_SECONDS)):
        assert look(positions, clock, seconds=took) == []
        clock.now += rest - 0.1
        assert look(positions, clock, seconds=0.0) != []
        clock.now += 0.1


def test_places_that_have_been_quiet_are_forgotten_once_a_look_is_quick() -> None:
    clock = FakeClock()
    positions = DuePositions(clock)
    positions.promoted([(Due("q", 0, "2030-01-01", "a"), 1000)])
    clock.now += WHOLE_REST_CAP_SECONDS + 1
    look(positions, clock, seconds=0.001)
    look(positions, clock, seconds=2.0)
    assert look(positions, clock, seconds=0.0) == []
