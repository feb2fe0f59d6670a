"""Figures of limits from records of handlers, and times where clocks change."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from bench.peers import concurrency
from bench.peers.clock_changes import Clock, Verdict, judge, year_lines
from bench.peers.contenders import CONTENDERS
from bench.peers.crew import Kill
from bench.peers.rounds import takes_part
from bench.peers.sides.effects import END, START, Effect

SECOND = 1_000_000_000
OLD, NEW = 1, 2


def ran(order_id: int, begin: float, end: float | None, pid: int = OLD) -> list[Effect]:
    found = [Effect(START, order_id, 0, int(begin * SECOND), pid)]
    if end is not None:
        found.append(Effect(END, order_id, 0, int(end * SECOND), pid))
    return found


def test_handlers_that_follow_each_other_do_not_run_at_the_same_time() -> None:
    effects = ran(0, 1.0, 2.0) + ran(1, 2.0, 4.0, NEW) + ran(2, 3.0, 5.0)
    assert concurrency.most_at_once(effects) == 2
    assert concurrency.most_of_a_key(effects, 2) == 1
    assert concurrency.most_of_a_key(effects, 1) == 2


def test_permits_of_a_killed_worker_are_usable_when_as_many_handlers_run_again() -> None:
    dead = ran(0, 1.0, 2.0) + ran(1, 2.0, None) + ran(2, 2.0, None)
    late = ran(3, 1.0, 9.0, NEW) + ran(1, 7.0, 9.0, NEW) + ran(2, 8.0, 9.0, NEW)
    kill = Kill(5 * SECOND, frozenset({OLD}))
    assert concurrency.held(dead + late, kill) == 2
    assert concurrency.most_at_once(dead + late, [kill]) == 3
    assert concurrency.usable_after(dead + late, kill, 3) == pytest.approx(3.0)
    assert concurrency.usable_after(dead + late, kill, 4) is None


def test_measures_of_limits_are_of_those_that_have_limits() -> None:
    def names(measure: str) -> list[str]:
        return [one.name for one in CONTENDERS if takes_part(one, measure)]

    assert names("limit") == names("permits-default") == ["leaseq", "pgqueuer", "bullmq", "dbos"]
    assert names("limit-keys") == ["leaseq", "dbos"]
    assert "huey" in names("crash-default")
    assert "huey" not in names("crash-reliable")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def test_expected_times_are_those_of_the_documented_rules() -> None:
    spring = Clock("Europe/Berlin", date(2027, 3, 28), date(2027, 3, 29))
    autumn = Clock("Europe/Berlin", date(2027, 10, 31), date(2027, 11, 1))
    assert spring.expected("30 2 * * *") == [at("2027-03-28T01:00Z")]
    assert autumn.expected("30 2 * * *") == [at("2027-10-31T00:30Z")]
    assert len(spring.expected("*/15 * * * *")) == 23 * 4
    assert len(autumn.expected("*/15 * * * *")) == 25 * 4
    assert len(spring.expected("0 */3 * * *")) == 8


def test_lost_doubled_and_moved_fires_are_told_apart() -> None:
    autumn = Clock("Europe/Berlin", date(2027, 10, 31), date(2027, 11, 1))
    right, second = at("2027-10-31T00:30Z"), at("2027-10-31T01:30Z")
    verdicts = [
        judge(autumn, "30 2 * * *", found) for found in ([right], [right, second], [second], [])
    ]
    counts = [(one.lost, one.doubled, one.moved) for one in verdicts]
    assert counts == [(0, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 0)]
    assert verdicts[1].days == {"2027-10-31": ["02:30+0200", "02:30+0100"]}
    quarters = autumn.expected("*/15 * * * *")
    wrong = judge(autumn, "*/15 * * * *", [*quarters[1:], quarters[-1]])
    assert (wrong.lost, wrong.doubled) == (1, 1)


def test_the_table_names_what_differs_from_the_rules() -> None:
    fine, lost = Verdict(0, 0, 0, {}), Verdict(1, 0, 0, {"2027-03-28": []})
    lines = year_lines({"a": {"UTC x": fine}, "b": {"UTC x": fine, "UTC y": lost}})
    assert "| a | all 1 | 0 | 0 | 0 |" in lines
    assert "| b | `UTC y` | 1 | 0 | 0 |" in lines
    assert lines[-1] == "- b `UTC y`: 2027-03-28: none"
