"""Checkers on failovers, silent standbys, sessions and charges.

Each lie differs in one place from a history that is good, and must be found; what a failover
rightly lost must be excused, and nothing beside it.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from leaseq_chaos.checkers.catalogue import CHECKERS
from leaseq_chaos.verdict import Finding, Verdict
from support.synthetic_history import Forged, at

FAILOVER = "failover-postgres"
SPAN = (10.0, 22.0)


def judged(forged: Forged, checker: str) -> Finding:
    return CHECKERS[checker](forged.evidence())


def good() -> Forged:
    """Two tasks with a whole life each, before the failover and after it."""
    forged = Forged()
    forged.life("t1", "k1", begin=1.0)
    forged.life("t2", "k2", begin=30.0)
    return forged


def failed_over(forged: Forged, nemesis: str = FAILOVER, *, synchronous: bool = False) -> Forged:
    """The address moves at 10 s; the old primary can be asked until 22 s."""
    detail = {
        "timeline": 1,
        "branched": forged.lsn_at(10.0),
        "synchronous": synchronous,
        "promoted": at(10.0),
    }
    forged.fault("f-1", nemesis, SPAN, detail=detail)
    return forged


def lost_task(forged: Forged, *, again: str | None = None) -> None:
    """Acknowledged by the old primary alone; `again`: as which task its key came back."""
    forged.submit((12.0, 12.2), "k9", "t9")
    forged.lose(12.1, "t9", "PENDING", verb="insert")
    forged.read((13.0, 13.1), "t9", "PENDING", 0)
    if again is not None:
        forged.submit((24.0, 24.2), "k9", again, process="client-2")
        forged.step(24.1, again, "PENDING", key="k9")
        forged.step(24.5, again, "PROCESSING", 1, worker="w1")
        forged.step(25.0, again, "SUCCESS", 1)


@pytest.mark.parametrize("checker", ["accepted", "keys", "reads", "linear"])
def test_loss_by_an_asynchronous_failover_is_excused(checker: str) -> None:
    forged = failed_over(good())
    lost_task(forged, again="t10")
    assert judged(forged, checker).verdict is Verdict.VALID, judged(forged, checker).violations


@pytest.mark.parametrize(
    ("checker", "words"), [("accepted", "not in the ledger"), ("keys", "as this task and as t9")]
)
def test_a_synchronous_failover_may_lose_no_acknowledged_task(checker: str, words: str) -> None:
    forged = failed_over(good(), "failover-postgres-sync", synchronous=True)
    lost_task(forged, again="t10")
    assert words in said(judged(forged, checker))


def test_a_task_that_was_not_in_the_lost_log_is_not_excused() -> None:
    forged = failed_over(good())
    forged.submit((12.0, 12.2), "k9", "t9")
    assert "not in the ledger" in said(judged(forged, "accepted"))


def test_a_reader_of_the_old_primary_may_see_what_was_there_last() -> None:
    """A claim on the new one is unknown there; when the old one has ended, it is not."""
    forged = Forged()
    forged.submit((1.0, 1.2), "k1", "t1")
    forged.step(1.1, "t1", "PENDING", key="k1")
    failed_over(forged)
    forged.step(11.0, "t1", "PROCESSING", 1, worker="w1")
    forged.step(12.0, "t1", "SUCCESS", 1)
    forged.read((15.0, 15.1), "t1", "PENDING", 0)
    assert judged(forged, "reads").verdict is Verdict.VALID
    forged.read((25.0, 25.1), "t1", "PENDING", 0)
    assert "which it was not" in said(judged(forged, "reads"))


@pytest.mark.parametrize(
    ("lost", "read_at", "verdict"),
    [(True, 9.5, "valid"), (False, 9.5, "invalid"), (True, 8.5, "invalid")],
)
def test_data_that_the_standby_lacks_may_be_read_before_the_promotion(
    lost: bool, read_at: float, verdict: str
) -> None:
    """An asynchronous standby is behind; later commits are lost with the primary that showed
    them."""
    forged = failed_over(good())
    forged.submit((9.0, 9.2), "k9", "t9")
    if lost:
        forged.lose(9.1, "t9", "PENDING", verb="insert")
    forged.read((read_at, read_at + 0.1), "t9", "PENDING", 0)
    assert judged(forged, "reads").verdict.value == verdict


def test_a_start_under_a_lost_claim_is_excused_and_another_is_not() -> None:
    forged = failed_over(good())
    forged.lose(12.1, "t1", "PROCESSING", attempt=2, worker="w2")
    forged.did("run", (12.2, 12.4), task="t1", attempt=2, process="handler-2")
    assert judged(forged, "terminal").verdict is Verdict.VALID
    forged.did("run", (12.5, 12.6), task="t2", attempt=7, process="handler-2")
    assert "no worker claimed" in said(judged(forged, "terminal"))


def test_a_second_start_is_excused_where_the_ending_of_the_first_was_lost() -> None:
    """The worker is asked again about an attempt that it has ended, and runs it once more under the
    same number."""
    for lost in (True, False):
        forged = failed_over(good())
        if lost:
            forged.lose(12.0, "t1", "SUCCESS", attempt=1)
        forged.did("run", (1.6, 1.9), task="t1", attempt=1, process="handler-1")
        forged.did("run", (25.0, 25.3), task="t1", attempt=1, process="handler-1")
        finding = judged(forged, "terminal")
        assert ("was started twice" in said(finding)) != lost, finding


def test_a_lost_cancel_is_excused_where_no_standby_was_waited_for() -> None:
    for synchronous in (False, True):
        forged = Forged()
        forged.submit((1.0, 1.2), "k1", "t1")
        forged.step(1.1, "t1", "PENDING", key="k1")
        failed_over(forged, synchronous=synchronous)
        forged.did("cancel", (12.0, 12.2), task="t1", heard={"state": "CANCELLED"})
        forged.lose(12.1, "t1", "CANCELLED", cancel_requested_at="then")
        forged.step(24.0, "t1", "PROCESSING", 1, worker="w1")
        forged.step(25.0, "t1", "SUCCESS", 1)
        finding = judged(forged, "cancel")
        assert (finding.verdict is Verdict.INVALID) == synchronous, finding


def silent(forged: Forged) -> Forged:
    """The standby has everything up to 10 s, and says nothing until 15 s."""
    forged.fault(
        "f-1", "lose-standby-postgres", (10.0, 15.0), detail={"flushed": forged.lsn_at(10.0)}
    )
    return forged


def acknowledged(when: float) -> Callable[[Forged], None]:
    def tell(forged: Forged) -> None:
        forged.submit((11.0, when), "k9", "t9", replayed=True)

    return tell


def cancelled(forged: Forged) -> None:
    forged.step(11.0, "t2", "CANCELLED", cancel_requested_at="then")
    forged.did("cancel", (11.0, 12.0), task="t2", heard={"state": "CANCELLED"})


@pytest.mark.parametrize(
    ("tell", "words"),
    [
        (acknowledged(12.0), "a submit was acknowledged"),
        (acknowledged(16.0), ""),
        (cancelled, "a cancel was acknowledged"),
    ],
    ids=["while it is silent", "when it is back", "a cancel"],
)
def test_nothing_is_acknowledged_that_the_standby_does_not_have(
    tell: Callable[[Forged], None], words: str
) -> None:
    forged = Forged()
    forged.submit((1.0, 1.2), "k2", "t2")
    forged.step(1.1, "t2", "PENDING", key="k2")
    silent(forged)
    forged.submit((10.5, 10.6), "k2", "t2", replayed=True)  # it has that one
    forged.step(11.5, "t9", "PENDING", key="k9")
    tell(forged)
    finding = judged(forged, "standbys")
    assert (finding.verdict is Verdict.INVALID) == bool(words)
    assert words in said(finding)


def test_marks_of_another_session_are_found() -> None:
    forged = good()
    forged.remark(1.6, "session", task="t1", attempt=1, value={"marks": ""})
    assert judged(forged, "sessions").verdict is Verdict.VALID
    forged.remark(
        30.6, "session", task="t2", attempt=1, value={"marks": "search_path, advisory lock"}
    )
    assert "left with search_path, advisory lock" in said(judged(forged, "sessions"))


def test_a_write_after_the_end_of_its_attempt_is_found() -> None:
    forged = good()
    forged.remark(1.8, "late", task="t1", attempt=1, value={"began": at(1.7)})
    assert judged(forged, "sessions").verdict is Verdict.VALID, "it was still running"
    forged.remark(3.0, "late", task="t1", attempt=1, value={"began": at(2.9)})
    assert "900 ms after that attempt had ended" in said(judged(forged, "sessions"))


def test_a_write_through_the_transaction_of_another_task_is_found() -> None:
    forged = good()
    forged.remark(1.8, "late", task="t1", attempt=1, value={"began": at(1.7), "by": "t2"})
    assert "a write of task t2 was taken" in said(judged(forged, "sessions"))


def charged(forged: Forged, *, isolated: bool, died: bool) -> None:
    forged.submit((40.0, 40.2), "k8", "t8", state="PENDING")
    forged.step(40.1, "t8", "PENDING", key="k8", kind="segfault")
    forged.say("child.started", worker_id="w8", isolated=isolated)
    forged.step(40.5, "t8", "PROCESSING", 1, worker="w8")
    forged.step(41.0, "t8", "PENDING", 1, by=(1, "w8", "lost"), crash_count=1)
    if died:
        forged.say("child.died", worker_id="w8")


@pytest.mark.parametrize(
    ("isolated", "died", "words"),
    [
        (True, True, ""),
        (False, True, "need not have been alone"),
        (True, False, "no supervisor saw it die"),
    ],
)
def test_a_charge_needs_a_witness(isolated: bool, died: bool, words: str) -> None:
    forged = good()
    charged(forged, isolated=isolated, died=died)
    finding = judged(forged, "charges")
    assert (finding.verdict is Verdict.INVALID) == bool(words)
    assert words in said(finding)


def test_a_loss_is_no_charge() -> None:
    forged = good()
    forged.step(40.1, "t8", "PENDING", key="k8")
    forged.step(40.5, "t8", "PROCESSING", 1, worker="w8")
    forged.step(41.0, "t8", "PENDING", 1, by=(1, "w8", "lost"))
    assert judged(forged, "charges").facts["charged"] == 0


def test_recovery_runs_from_the_promotion_while_the_old_server_lives_on() -> None:
    """The task goes on only when the old server has ended: too late."""
    forged = Forged()
    forged.submit((1.0, 1.2), "k1", "t1")
    forged.step(1.1, "t1", "PENDING", key="k1")
    forged.fault("f-1", "demote-valkey", (10.0, 22.0))
    forged.step(22.5, "t1", "PROCESSING", 1, worker="w1")
    forged.step(23.0, "t1", "SUCCESS", 1)
    assert "demote-valkey" in said(judged(forged, "recovery"))


@pytest.mark.parametrize(
    ("nemesis", "comes", "goes_on", "valid"),
    [
        ("demote-valkey", 12.0, 21.5, False),
        ("demote-valkey", 12.0, 14.0, True),
        # the old server is gone, so this waits for another reason
        ("demote-valkey", 22.5, 40.0, True),
        ("stop-valkey", 12.0, 23.0, True),  # nothing can go on before the heal
    ],
)
def test_write_while_the_old_server_lives_has_to_succeed_beside_it(
    nemesis: str, comes: float, goes_on: float, valid: bool
) -> None:
    forged = Forged()
    for key, task, at_once in (("k1", "t1", 1.0), ("k2", "t2", comes)):
        forged.submit((at_once, at_once + 0.2), key, task)
        forged.step(at_once + 0.1, task, "PENDING", key=key)
    forged.fault("f-1", nemesis, (10.0, 22.0), struck=10.5)
    forged.step(11.0, "t1", "PROCESSING", 1, worker="w1")
    forged.step(11.1, "t1", "SUCCESS", 1)
    forged.step(goes_on, "t2", "PROCESSING", 1, worker="w1")
    forged.step(goes_on + 0.1, "t2", "SUCCESS", 1)
    finding = judged(forged, "recovery")
    assert (finding.verdict is Verdict.VALID) == valid, said(finding)


@pytest.mark.parametrize(
    ("lost", "goes_on", "valid"), [(True, 22.0, True), (True, 28.0, False), (False, 22.0, False)]
)
def test_a_settle_that_a_failover_lost_has_the_time_of_the_reconciler(
    lost: bool, goes_on: float, valid: bool
) -> None:
    forged = failed_over(good())
    forged.submit((9.0, 9.2), "k5", "t5")
    forged.step(9.1, "t5", "PENDING", key="k5")
    forged.step(9.5, "t5", "PROCESSING", 1, worker="w1")
    if lost:
        forged.lose(10.1, "t5", "SUCCESS", attempt=1)
    forged.step(goes_on, "t5", "SUCCESS", 1)
    finding = judged(forged, "recovery")
    assert (finding.verdict is Verdict.VALID) == valid, said(finding)


def test_a_copy_that_takes_long_excuses_nothing() -> None:
    forged = Forged()
    forged.submit((1.0, 1.2), "k1", "t1")
    forged.step(1.1, "t1", "PENDING", key="k1")
    forged.fault("f-1", "flushall", (2.0, 2.0))
    forged.fault("f-2", "demote-valkey", (3.0, 13.5), struck=13.4, detail={"since": at(13.3)})
    forged.step(12.5, "t1", "PROCESSING", 1, worker="w1")
    forged.step(13.0, "t1", "SUCCESS", 1)
    assert "flushall" in said(judged(forged, "recovery"))


def said(finding: Finding) -> str:
    return "; ".join(violation.said for violation in finding.violations)
