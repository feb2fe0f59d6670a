"""The checker of occurrences finds those that were fired twice, or not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from leaseq_chaos.checkers.occurrences import LATE_SECONDS, check
from leaseq_chaos.evidence import Evidence
from leaseq_chaos.verdict import Verdict
from support.synthetic_history import Forged, at

FIRST = datetime(2030, 1, 1, tzinfo=UTC)
TIMES = [FIRST + timedelta(seconds=number) for number in range(4)]


def told(
    fired: list[datetime] | None, *, missed: int = 0, deleted: float | None = None, wall: int = 0
) -> Evidence:
    """A schedule that fires each second, with the tasks of these times."""
    run = Forged()
    run.life("plain", "plain")
    for number, time in enumerate([*TIMES, TIMES[-1] + timedelta(seconds=1)]):
        row: dict[str, Any] = {"name": "s", "every_seconds": "1", "next_at": time.isoformat()}
        verb = "update" if number else "insert"
        run._commit(number + 1.0, "schedules", verb, row | {"missed": missed}, fresh=True)
    if deleted is not None:
        run._commit(deleted, "schedules", "delete", {"name": "s"}, fresh=True)
    rows = [
        {"task_id": f"t{number}", "schedule": "s", "at": time.isoformat()}
        for number, time in enumerate(fired or ())
    ]
    evidence = run.evidence()
    return replace(
        evidence,
        run=replace(evidence.run, wall_offset=wall),
        snapshot=replace(evidence.snapshot, fired=None if fired is None else rows),
    )


def test_one_task_for_each_time_is_valid() -> None:
    finding = check(told(TIMES))
    assert finding.verdict is Verdict.VALID, finding.violations
    assert finding.facts["tasks of schedules"] == 4


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (told([*TIMES, TIMES[2]]), "has 2 tasks for 2030-01-01T00:00:02"),
        (told(TIMES[:1] + TIMES[2:]), "has no task for 2030-01-01T00:00:01"),
        (told(TIMES, missed=1), "counts 1 missed"),
    ],
)
def test_what_differs_is_found(evidence: Evidence, words: str) -> None:
    finding = check(evidence)
    assert finding.verdict is Verdict.INVALID
    assert any(words in violation.said for violation in finding.violations), finding.violations


@pytest.mark.parametrize("late", [LATE_SECONDS - 1, LATE_SECONDS + 1])
def test_a_schedule_that_no_reaper_fires_is_late_when_it_is_deleted(late: float) -> None:
    following = round((TIMES[-1] + timedelta(seconds=1)).timestamp() * 1e9)
    evidence = told(TIMES, deleted=30.0, wall=following + round(late * 1e9) - at(30.0))
    verdict = Verdict.INVALID if late > LATE_SECONDS else Verdict.VALID
    assert check(evidence).verdict is verdict


def test_a_run_of_before_there_were_schedules_is_unknown() -> None:
    assert check(told(None)).verdict is Verdict.UNKNOWN
