"""A run without its rare events is unknown, and rare events are counted."""

from __future__ import annotations

import pytest

from leaseq.observability import telemetry
from leaseq_chaos.checkers import sometimes
from leaseq_chaos.history import Kind
from leaseq_chaos.verdict import Verdict
from support.synthetic_history import Forged


def whole() -> Forged:
    """A run in which a bit of everything happened."""
    forged = Forged()
    forged.did(
        "submit", (0, 1), kind=Kind.INFO, key="k", said={"variant": "a"}, heard={"error": "timeout"}
    )
    forged.submit((2, 3), "k", "t1", replayed=True, process="client-1.2")
    forged.did(
        "submit",
        (4, 5),
        kind=Kind.FAIL,
        key="k",
        said={"variant": "b"},
        heard={"code": "idempotency_key_reused", "task": "t1"},
    )
    forged.did("cancel", (6, 7), task="t1", heard={"state": "CANCELLED"})
    for events in sometimes._EVENTS.values():
        for event in events:
            forged.say(event, isolated=True, handed_back=3, reason="no delivery in dispatch")
    forged.say("epoch.changed")
    forged.say("task.redispatched", reason="no delivery in dispatch")
    return forged


def test_a_run_that_hit_everything_is_valid() -> None:
    forged = whole()
    forged.expects = list(sometimes.NAMES)
    finding = sometimes.check(forged.evidence())
    assert (finding.verdict, finding.violations) == (Verdict.VALID, [])
    assert all(finding.facts[name] >= 1 for name in sometimes.NAMES)
    assert finding.facts["reaped"] == 2, "a worker and an attempt"


def test_every_coverage_name_is_counted() -> None:
    finding = sometimes.check(whole().evidence())
    assert finding.verdict is Verdict.VALID
    assert set(finding.facts) == set(sometimes.NAMES)


@pytest.mark.parametrize("name", sometimes.NAMES)
def test_kind_without_an_injection_is_unknown(name: str) -> None:
    forged = Forged()
    forged.life("t1", "k")
    forged.say("supervisor.started")
    forged.expects = [name]
    finding = sometimes.check(forged.evidence())
    assert finding.verdict is Verdict.UNKNOWN
    assert f"a run in which nothing was {name} proves nothing about it" in finding.said


def test_half_of_what_a_name_means_is_not_a_hit() -> None:
    forged = Forged()
    forged.say("task.redispatched", reason="orphaned")
    forged.say("epoch.changed")
    forged.say("child.started", isolated=False)
    forged.say("worker.drained", handed_back=0)
    forged.submit((0, 1), "k", "t1")
    forged.did("submit", (2, 3), kind=Kind.INFO, key="k", said={"variant": "a"})
    facts = sometimes.check(forged.evidence()).facts
    assert {name for name in sometimes.NAMES if facts[name]} == set(), (
        "lost afterwards is not tried again"
    )


def test_unknown_name_is_reported() -> None:
    forged = whole()
    forged.expects = ["fenced", "frightened"]
    finding = sometimes.check(forged.evidence())
    assert finding.verdict is Verdict.UNKNOWN
    assert "frightened" in finding.said
    assert "nothing was fenced" not in finding.said


def test_of_nothing_nothing_is_known() -> None:
    assert sometimes.check(Forged().evidence()).verdict is Verdict.UNKNOWN


def test_expected_events_exist_at_the_log_level_of_a_run() -> None:
    events = {event for events in sometimes._EVENTS.values() for event in events} | {
        "epoch.changed"
    }
    assert {event for event in events if telemetry.EVENTS.get(event, 0) < telemetry.INFO} == set()
