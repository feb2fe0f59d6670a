"""The schedule is a function of its seed, and a quarter of it is quiet."""

from __future__ import annotations

import pytest

from leaseq_chaos.nemesis.catalogue import NEMESES
from leaseq_chaos.scenarios import SCENARIOS
from leaseq_chaos.schedule import PERIOD_SECONDS, PERIODS, Schedule, ground, make_schedule

SPANS = {name: nemesis.seconds for name, nemesis in NEMESES.items()}
MINUTES = 10


def _made(name: str, *, seed: int = 7) -> Schedule:
    return make_schedule(SCENARIOS[name], seed=seed, minutes=MINUTES, spans=SPANS)


def test_the_same_seed_is_the_same_schedule() -> None:
    assert _made("everything") == _made("everything")
    assert _made("everything") != _made("everything", seed=8)


def test_every_nemesis_is_in_a_scenario_and_none_is_unknown() -> None:
    asked = {name for scenario in SCENARIOS.values() for name in scenario.nemeses}
    assert asked == set(NEMESES)


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_a_quarter_is_quiet_and_nothing_is_open_then(name: str) -> None:
    schedule = _made(name)
    quiet = sum(period.end - period.begin for period in schedule.quiet)
    assert quiet == pytest.approx(schedule.seconds / PERIODS, abs=PERIOD_SECONDS)
    for period in schedule.quiet:
        assert not [
            fault
            for fault in schedule.faults
            if fault.at < period.end and fault.at + fault.seconds >= period.begin
        ]


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_never_too_much_at_once_and_never_twice_on_one_ground(name: str) -> None:
    schedule = _made(name)
    for fault in schedule.faults:
        begun = [
            other
            for other in schedule.faults
            if other.number < fault.number and other.at + other.seconds >= fault.at
        ]
        assert len(begun) < SCENARIOS[name].at_once
        where = ground(fault.nemesis)
        assert where is None or where not in {ground(other.nemesis) for other in begun}


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_every_nemesis_of_a_scenario_comes_up_in_time(name: str) -> None:
    seen = {fault.nemesis for seed in range(5) for fault in _made(name, seed=seed).faults}
    assert seen == set(SCENARIOS[name].nemeses)


def test_faults_of_a_server_share_its_ground_and_those_of_its_links_another() -> None:
    assert ground("flushall") == ground("kill-valkey") == "valkey"
    assert ground("kill-backends") == ground("restart-postgres-and-kill-reaper") == "postgres"
    assert ground("stall-valkey") == ground("drop-reply-valkey") != ground("stall-postgres")
    assert ground("kill-child") is None
