"""Events that are counted are counted by the fields that they are declared with."""

from __future__ import annotations

import pytest

from leaseq.metrics import event_counts
from leaseq.metrics.event_counts import COUNTS, count_events
from leaseq.metrics.tally import Tally
from leaseq.observability.events import CATALOGUE
from leaseq.observability.telemetry import emit, listening

# A value for each field that a count may look at.
VALUES = {"count": 3, "first": True, "queue": "billing"}


@pytest.fixture
def tally(monkeypatch: pytest.MonkeyPatch) -> Tally:
    """A tally in place of that of the process."""
    fresh = Tally()
    monkeypatch.setattr(event_counts, "TALLY", fresh)
    return fresh


@pytest.mark.parametrize("name", COUNTS)
def test_each_of_them_is_counted_once(name: str, tally: Tally) -> None:
    required = CATALOGUE[name].required.split()
    stop = count_events()
    try:
        emit(name, {field: VALUES.get(field, "x") for field in required})
    finally:
        stop()
    (series,) = tally.series()
    assert series.value == (3 if "count" in required else 1)


def test_only_they_are_listened_for(tally: Tally) -> None:
    stop = count_events()
    try:
        assert {name for name in CATALOGUE if listening(name)} == COUNTS.keys()
    finally:
        stop()


def test_a_second_reaper_that_finds_a_worker_closed_does_not_count_it(tally: Tally) -> None:
    stop = count_events()
    try:
        fields = {"worker_id": "w", "reason": "r", "tasks": 0, "sessions_ended": 0}
        emit("worker.reaped", fields, first=False)
    finally:
        stop()
    assert list(tally.series()) == []
