"""The judgement of goals, and the readings of heartbeats and CPU."""

from __future__ import annotations

from typing import Any, cast

import pytest
from bench.catalogue import MEASUREMENTS
from bench.cost import Used
from bench.figures import Figure
from bench.goals import GOALS, judge
from bench.heartbeats import Heartbeats
from bench.lookout import Lookout
from bench.scale import QUICK, Scale


def test_a_rate_has_to_reach_its_goal_and_a_time_has_to_stay_below_it() -> None:
    figures = {
        "drain-1": [Figure("drain, 1 process", "tasks/s", [30_000.0, 10.0, 90_000.0])],
        "drain-2": [Figure("drain, 2 processes", "tasks/s", [39_999.0])],
        "latency": [
            Figure("idle latency p50", "ms", [2.0]),
            Figure("idle latency p99", "ms", [4.9]),
        ],
    }
    assert [verdict.reached for verdict in judge(figures, Scale())] == [True, False, False, True]


def test_a_goal_may_be_a_share_of_another_figure() -> None:
    drained = {"due": [Figure("1,000,000 due together: drained", "tasks/s", [950.0])]}
    plain = {"drain-1": [Figure("drain, 1 process", "tasks/s", [1_000.0])]}
    assert judge(drained, Scale()) == []
    (due,) = (
        verdict for verdict in judge(drained | plain, Scale()) if verdict.goal.measurement == "due"
    )
    assert (due.bound, due.reached) == (900.0, True)


def test_of_several_figures_the_one_farthest_from_the_goal_decides() -> None:
    cost = ": CPU of the API, added by authentication"
    share = ": rate, of that of submit_many"
    figures = {
        "auth": [
            Figure(f"HTTP {name}{cost}", "%", [value]) for name, value in (("a", 1), ("b", 4))
        ],
        "batch": [Figure(f"{name}{share}", "%", [value]) for name, value in (("a", 70), ("b", 90))],
    }
    assert {v.goal.measurement: (v.figure.median, v.reached) for v in judge(figures, Scale())} == {
        "auth": (4, False),
        "batch": (70, False),
    }


def test_small_scale_measure_decides_no_large_scale_goal() -> None:
    figures = {"kill-many": [Figure("process killed with 10 tasks, 1 kills: p99", "ms", [1.0])]}
    assert len(judge(figures, Scale())) == 1
    assert judge(figures, QUICK) == []


def test_every_goal_is_measured_by_something_and_asks_for_a_scale_that_there_is() -> None:
    assert {goal.measurement for goal in GOALS} <= {
        measurement.name for measurement in MEASUREMENTS
    }
    for goal in GOALS:
        for name, least in goal.at_least.items():
            assert getattr(Scale(), name) >= least


@pytest.mark.parametrize(
    ("since", "until", "dead", "gap"),
    [
        (0, 5_100, (), 2_500),
        (4_700, 5_100, (), 2_000),
        (4_700, 9_000, (), 5_000),  # the heartbeat that has not come yet
        (4_700, 9_000, ("stops",), 4_000),
    ],
)
def test_the_longest_gap_is_that_of_whoever_lives(
    since: int, until: int, dead: tuple[str, ...], gap: int
) -> None:
    beats = Heartbeats(cast(Lookout, None), [], lease_seconds=10)
    for worker_id, moments in {
        "steady": (1_000, 3_000, 3_000, 5_000),
        "stops": (1_500, 4_000),
    }.items():
        for moment in moments:
            beats.note(worker_id, moment)
    assert beats.longest_gap(since=since, until=until, dead=dead) == gap


async def test_a_renewal_is_a_deadline_less_the_lease() -> None:
    class Fake:
        async def deadlines(self, queue: str) -> dict[str, int]:
            return {"me": 12_000}

        def __getattr__(self, name: str) -> Any:
            raise AssertionError(name)

    beats = Heartbeats(cast(Lookout, Fake()), ["default"], lease_seconds=10)
    await beats.look()
    assert beats.longest_gap(since=0, until=2_300, dead=()) == 300


def test_cpu_is_user_and_system_time() -> None:
    used = Used(5.0, 2.0, 1.0) - Used(1.0, 1.5, 0.5) + Used(user=1.0)
    assert (used.user, used.system, used.root, used.total) == (5.0, 0.5, 0.5, 5.5)
