"""Compare every recorded event with the catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from leaseq.observability import telemetry
from leaseq.observability.events import CATALOGUE
from leaseq.observability.telemetry import Event

_misfits: list[str] = []


def _judged(name: str, level: int, fields: dict[str, Any]) -> Event:
    if misfit := CATALOGUE[name].misfit(set(fields)):
        _misfits.append(f"{name}: {misfit}")
    return Event(name, level, fields)


@pytest.fixture(scope="session", autouse=True)
def _judging() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(telemetry, "Event", _judged)
        yield


@pytest.fixture(autouse=True)
def events_as_declared() -> Iterator[list[str]]:
    """The misfits of this test, which must be none when it ends."""
    _misfits.clear()
    yield _misfits
    assert _misfits == [], "the catalogue in leaseq/observability/events.py declares other fields"
