"""The checker of limits finds permits that are too many, left over or not given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from leaseq_chaos.checkers.limits import check
from leaseq_chaos.evidence import Evidence
from leaseq_chaos.verdict import Verdict
from support.synthetic_history import Forged


class Limited(Forged):
    """A run with a limit of two, and of one for each key."""

    def __init__(self) -> None:
        super().__init__()
        self.submit((0.0, 0.1), "a", "a")
        self.bound(0.0, 2, 1)

    def bound(self, when: float, most: int | None, each: int | None) -> None:
        """A version of the limit."""
        row = {"id": "7", "concurrency": most, "key_concurrency": each}
        verb = "update" if self.commits else "insert"
        self._commit(when, "limits", verb, row, fresh=True)

    def wait(self, when: float, task: str, key: str) -> None:
        """A submission."""
        self.step(when, task, "SCHEDULED", key=task, limit_name="fleet")
        self.place(when, task, key, verb="insert")

    def admit(self, when: float, task: str, key: str) -> None:
        """An admission."""
        self.step(when, task, "PENDING", limit_name="fleet")
        self.place(when, task, key, admitted_at="2030-01-01")

    def end(self, when: float, task: str, key: str) -> None:
        """A success, with its permit."""
        self.step(when, task, "SUCCESS", 1, limit_name="fleet", finished_at="2030-01-01")
        self.place(when, task, key, verb="delete")

    def place(self, when: float, task: str, key: str, *, verb: str = "update", **row: Any) -> None:
        """A version of the row in the line, in the transaction of the last step."""
        about = {"task_id": task, "limit_id": "7", "tenant": "default", "key": key, "due": "true"}
        self._commit(when, "limited", verb, {**about, "admitted_at": None, **row})

    def told(self, **snapshot: Any) -> Evidence:
        """The evidence, with the limit and no row in a line at the end."""
        limit = {"id": "7", "name": "fleet", "concurrency": 2, "key_concurrency": 1}
        evidence = self.evidence()
        more = {"limits": [limit], "limited": [], **snapshot}
        return replace(evidence, snapshot=replace(evidence.snapshot, **more))


def good() -> Limited:
    """Three tasks of three keys, of which two have permits at a time."""
    run = Limited()
    for number, task in enumerate(("a", "b", "c")):
        run.wait(1.0 + number / 10, task, task)
    run.admit(1.4, "a", "a")
    run.admit(1.5, "b", "b")
    run.end(2.0, "a", "a")
    run.admit(2.1, "c", "c")
    run.end(9.0, "b", "b")  # no task waits meanwhile
    run.end(9.1, "c", "c")
    return run


def test_a_limit_that_was_kept_is_valid() -> None:
    finding = check(good().told())
    assert finding.verdict is Verdict.VALID, finding.violations
    assert finding.facts["permits given"] == finding.facts["tasks with a limit"] == 3


def over(run: Limited) -> None:
    for number, task in enumerate(("d", "e", "f")):
        run.wait(9.2, task, task)
        run.admit(9.3 + number / 10, task, task)


def over_a_key(run: Limited) -> None:
    run.wait(9.2, "d", "d")
    run.wait(9.2, "e", "d")
    run.admit(9.3, "d", "d")
    run.admit(9.4, "e", "d")


def runs_without_a_permit(run: Limited) -> None:
    run.wait(9.2, "d", "d")
    run.step(9.3, "d", "PENDING", limit_name="fleet")


def ended_with_a_permit(run: Limited) -> None:
    run.wait(9.2, "d", "d")
    run.admit(9.3, "d", "d")
    run.step(9.4, "d", "SUCCESS", 1, limit_name="fleet")


def stands_in_no_line(run: Limited) -> None:
    run.step(9.2, "d", "SCHEDULED", limit_name="fleet")


def stands_still(run: Limited) -> None:
    run.wait(9.2, "d", "d")
    run.admit(11.0, "d", "d")


def lowered_before(run: Limited) -> None:
    run.wait(9.2, "d", "d")
    run.wait(9.2, "e", "e")
    run.bound(9.3, 1, 1)
    run.admit(9.4, "d", "d")
    run.admit(9.5, "e", "e")


def repaired(run: Limited) -> None:
    run.say("limit.repaired", task_id="a")


@pytest.mark.parametrize(
    ("bug", "words"),
    [
        (over, "has 3 permits after this one"),
        (over_a_key, "has 2 permits, and 1 is its limit"),
        (runs_without_a_permit, "it is PENDING and has no permit"),
        (ended_with_a_permit, "it is SUCCESS and has a permit"),
        (stands_in_no_line, "stands in no line"),
        (stands_still, "stood still"),
        (lowered_before, "limit 7 of 1 has 2 permits"),
        (repaired, "had to repair"),
    ],
)
def test_a_limit_that_was_not_kept_is_found(bug: Callable[[Limited], None], words: str) -> None:
    run = good()
    bug(run)
    finding = check(run.told())
    assert finding.verdict is Verdict.INVALID
    assert any(words in violation.said for violation in finding.violations), finding.violations


def test_a_line_may_stand_still_during_a_fault() -> None:
    run = good()
    run.fault("f1", "kill-reaper", (9.25, 9.5))
    stands_still(run)
    assert check(run.told()).verdict is Verdict.VALID


def test_rows_that_are_left_at_the_end_are_found() -> None:
    finding = check(good().told(limited=[{"task_id": "a", "admitted": True}]))
    assert [violation.said for violation in finding.violations] == [
        "it has ended, and has a permit"
    ]


def test_a_run_of_before_there_were_limits_is_unknown() -> None:
    assert check(good().told(limits=None)).verdict is Verdict.UNKNOWN
