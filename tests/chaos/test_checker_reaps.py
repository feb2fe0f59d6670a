"""The checker of reaps distinguishes dead workers from live ones."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from leaseq_chaos.checkers.reaps import check
from leaseq_chaos.evidence import Commit, Evidence
from leaseq_chaos.verdict import Verdict
from support.valid_history import Story

SECOND = 1_000_000_000


def story(*, closed: bool = True) -> Evidence:
    """A task is lost with w2, which falls silent at second 10 and is closed at second 21; the lease
    is 10 seconds."""
    told = Story()
    task = told.submit("note")
    told.claim(task, "w2")
    told.at = 21 * SECOND
    if closed:
        told.close("w2")
    told.end(task, "lost", "PENDING", loss_count=1)
    told.claim(task)
    told.succeed(task)
    return told.evidence(config={"LEASEQ_LEASE_SECONDS": "10"})


def closing(evidence: Evidence) -> int:
    return next(
        at
        for at, one in enumerate(evidence.commits)
        if one.table == "workers" and one.row["closed_at"] is not None
    )


def heard(
    evidence: Evidence,
    worker: str,
    *seconds: float,
    reason: str = "silent for more than 10 s",
    table: str = "heartbeats",
    verb: str = "update",
) -> Evidence:
    """Say why it was closed, and when there were signs of life."""
    at = closing(evidence)
    closed = evidence.commits[at]
    evidence.commits[at] = replace(closed, row=closed.row | {"close_reason": reason})
    row = {"worker_id": worker} if table == "heartbeats" else {"id": worker, "closed_at": None}
    evidence.commits[at:at] = [
        Commit(closed.lsn, 0, round(s * SECOND), table, verb, row) for s in seconds
    ]
    return evidence


def test_reap_of_a_worker_silent_for_a_lease_is_right() -> None:
    finding = check(heard(story(), "w2", 9, 9.5, 10))
    assert finding.verdict is Verdict.VALID, finding.violations
    assert (
        finding.facts["closed"],
        finding.facts["closed for silence"],
        finding.facts["lost attempts"],
    ) == (1, 1, 1)


def test_one_sign_of_life_may_have_been_long_under_way() -> None:
    assert check(heard(story(), "w2", 10, 20)).verdict is Verdict.VALID


def test_the_signs_of_another_are_no_signs() -> None:
    assert check(heard(story(), "w1", 18, 19, 20)).verdict is Verdict.VALID


def test_the_end_of_a_heartbeat_is_no_sign_of_life() -> None:
    assert check(heard(story(), "w2", 20, 20.5, verb="delete")).verdict is Verdict.VALID


@pytest.mark.parametrize("table", ["heartbeats", "workers"])
@pytest.mark.parametrize("seconds", [(19.5, 20), (12, 20), (11.5, 12)])
def test_reap_of_a_worker_seen_within_its_lease_is_wrong(
    seconds: tuple[float, ...], table: str
) -> None:
    finding = check(heard(story(), "w2", *seconds, table=table))
    assert finding.verdict is Verdict.INVALID
    assert "w2 was closed for silence, after 2 beats" in finding.violations[0].said


@pytest.mark.parametrize("reason", ["killed by SIGKILL", "drained"])
def test_worker_known_to_be_dead_need_not_be_silent(reason: str) -> None:
    assert check(heard(story(), "w2", 19, 20, reason=reason)).verdict is Verdict.VALID


def test_nothing_is_lost_whose_worker_is_open() -> None:
    finding = check(story(closed=False))
    assert finding.verdict is Verdict.INVALID
    (violation,) = finding.violations
    assert violation.task == "t1"
    assert "declared lost while its worker w2 was open" in violation.said


def test_a_closing_that_a_failover_lost_was_one() -> None:
    evidence = story()
    lost = evidence.commits.pop(closing(evidence))
    assert check(replace(evidence, lost=[lost])).verdict is Verdict.VALID
    opened = replace(lost, row=lost.row | {"closed_at": None})
    assert check(replace(evidence, lost=[opened])).verdict is Verdict.INVALID
    other = replace(lost, row=lost.row | {"id": "w1"})
    assert check(replace(evidence, lost=[other])).verdict is Verdict.INVALID


def test_nothing_is_lost_before_its_worker_is_closed() -> None:
    evidence = story()
    evidence.commits.append(evidence.commits.pop(closing(evidence)))
    last = evidence.commits[-1]
    evidence.commits[-1] = replace(last, lsn=evidence.commits[-2].lsn + 1)
    assert check(evidence).verdict is Verdict.INVALID


def test_without_commits_nothing_is_known() -> None:
    evidence = story()
    assert check(replace(evidence, commits=[])).verdict is Verdict.UNKNOWN
