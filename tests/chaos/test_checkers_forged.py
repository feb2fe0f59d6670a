"""Each checker finds the error in a forged history, and names the task.

One good story, and for each checker several lies: the smallest edits of the evidence that break its
invariant. A checker that has never reported `invalid` proves nothing by reporting `valid`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from leaseq_chaos.checkers.catalogue import CHECKERS
from leaseq_chaos.evidence import Evidence
from leaseq_chaos.history import Kind
from leaseq_chaos.verdict import Verdict
from support import corrupted_history as edit
from support.valid_history import TICK, told

SECOND = 1_000_000_000
OURS = [
    "accepted", "keys", "effects", "terminal", "fences", "transitions",
    "reads", "accounts", "convergence", "poison", "schedule", "cancel",
]  # fmt: skip

Lie = Callable[[Evidence], object]


def _drop(evidence: Evidence, task: str) -> None:
    evidence.snapshot.tasks.remove(edit.row(evidence, task))


def _phantom(evidence: Evidence, key: str | None) -> None:
    evidence.snapshot.tasks.append(
        edit.row(evidence, "t1") | {"task_id": "t99", "idempotency_key": key}
    )


def _unmove(evidence: Evidence, task: str, state: str) -> None:
    del evidence.commits[edit.place(evidence, task, state)]


def _read(
    e: Evidence, at: int, task: str, state: str, attempt: int = 0, *, told: str | None = None
) -> None:
    edit.ask(
        e,
        "read",
        Kind.OK,
        at=at,
        task=task,
        told=told or task,
        heard={"state": state, "attempt": attempt},
    )


def _refused(e: Evidence, op: str, task: str, code: str) -> None:
    edit.ask(e, op, Kind.FAIL, task=task, heard={"code": code})


def _again(
    e: Evidence, key: str, told: str, variant: str = "a", kind: Kind = Kind.OK, **heard: str
) -> None:
    said = {"type": "transfer", "variant": variant}
    edit.ask(e, "submit", kind, key=key, told=told, said=said, heard=heard)


def _other_body(e: Evidence, variant: str, named: str) -> None:
    _again(e, "k2", "t2", variant, Kind.FAIL, code="idempotency_key_reused", task=named)


def _twice_in_the_snapshot(e: Evidence, table: str) -> None:
    rows = getattr(e.snapshot, table)
    rows.append(next(row for row in rows if row["task_id"] == "t1") | {"task_id": "t2"})


def _effect(e: Evidence, task: str, attempt: int = 1) -> None:
    e.snapshot.effects.append({"task_id": task, "attempt": attempt, "type": "note"})


def _no_effect(e: Evidence, task: str) -> Evidence:
    e.snapshot.effects[:] = [effect for effect in e.snapshot.effects if effect["task_id"] != task]
    return e


def _cancel(e: Evidence, task: str, state: str, *, at: int, told: str | None = None) -> None:
    edit.ask(e, "cancel", Kind.OK, at=at, task=task, told=told or task, heard={"state": state})


def _claim_again(e: Evidence, task: str, ended: str) -> None:
    attempt = edit.row(e, task)["attempt"] + 1
    edit.append(
        e,
        edit.place(e, task, ended),
        state="PROCESSING",
        attempt=attempt,
        worker_id="w1",
        cancel_requested_at=None,
    )


def _run(e: Evidence, task: str, kind: Kind, nth: int = 0) -> int:
    return edit.event(e, "run", kind, nth, task=task)


def _ended_with(e: Evidence, **changes: object) -> Evidence:
    return replace(e, snapshot=replace(e.snapshot, **changes))


def _undrained(e: Evidence) -> Evidence:
    edit.row(e, "t1", state="PROCESSING")
    return _ended_with(e, drained=False)


LIES: list[tuple[str, str | None, str, Lie]] = [
    ("accepted", "t1", "not in the ledger", lambda e: _drop(e, "t1")),
    ("accepted", "t1", "it is PENDING", lambda e: edit.row(e, "t1", state="PENDING")),
    ("accepted", "t1", "it is PROCESSING", _undrained),
    ("accepted", "t12", "not in the ledger", lambda e: _drop(e, "t12")),
    ("accepted", "t1", "task_not_found", lambda e: _refused(e, "read", "t1", "task_not_found")),
    ("accepted", "t13", "task_not_found", lambda e: _refused(e, "cancel", "t13", "task_not_found")),
    (
        "accepted",
        "t1",
        "answer_of_another",
        lambda e: _refused(e, "read", "t1", "answer_of_another_task"),
    ),
    ("accepted", "t99", "no client submitted", lambda e: _phantom(e, "k99")),
    ("accepted", "t99", "no client submitted", lambda e: _phantom(e, None)),
    ("accepted", "t98", "had an effect", lambda e: _effect(e, "t98")),
    (
        "accepted",
        "t98",
        "had an effect",
        lambda e: edit.retell(e, edit.event(e, "effect", Kind.OK), task="t98"),
    ),
    (
        "accepted",
        "t1",
        "before it was committed",
        lambda e: edit.amend(e, edit.place(e, "t1", "PENDING"), later=SECOND),
    ),
    ("keys", "t1", "as this task and as t2", lambda e: _again(e, "k2", "t1")),
    ("keys", "t2", "two bodies", lambda e: _again(e, "k2", "t2", "b")),
    ("keys", "t2", "the body was the same", lambda e: _other_body(e, "a", "t2")),
    ("keys", "t2", "names t1 instead", lambda e: _other_body(e, "b", "t1")),
    ("keys", "t2", "the ledger has key k2", lambda e: e.snapshot.keys[1].update(task_id="t1")),
    ("keys", "t2", "for no task", lambda e: e.snapshot.keys.pop(1)),
    ("keys", "t2", "two tasks", lambda e: _twice_in_the_snapshot(e, "tasks")),
    (
        "keys",
        "t2",
        "two tasks",
        lambda e: edit.append(e, edit.place_in(e, "idempotency_keys", "t1"), task_id="t2"),
    ),
    ("keys", "t2", "of the type note", lambda e: edit.row(e, "t2", type="note")),
    ("keys", "t13", "does not have", lambda e: _drop(e, "t13")),
    ("effects", "t1", "2 effects", lambda e: _effect(e, "t1")),
    ("effects", "t1", "0 effects", lambda e: _no_effect(e, "t1")),
    ("effects", "t6", "refuse is FAILED and has 1", lambda e: _effect(e, "t6")),
    ("effects", "t9", "slow is CANCELLED and has 1", lambda e: _effect(e, "t9")),
    ("effects", "t97", "not in the ledger", lambda e: _effect(e, "t97")),
    (
        "effects",
        "t5",
        "the effect is of attempt 1",
        lambda e: _effect(_no_effect(e, "t5"), "t5", 1),
    ),
    (
        "effects",
        "t1",
        "without its success",
        lambda e: edit.amend(e, edit.place_in(e, "effects", "t1"), alone=True),
    ),
    (
        "effects",
        "t5",
        "without its success",
        lambda e: edit.amend(e, edit.place_in(e, "effects", "t5"), attempt=1),
    ),
    (
        "effects",
        "t1",
        "changed afterwards",
        lambda e: edit.append(e, edit.place_in(e, "effects", "t1"), verb="update"),
    ),
    (
        "effects",
        "t3",
        "noted no effect",
        lambda e: e.events.pop(edit.event(e, "effect", Kind.OK, attempt=2)),
    ),
    (
        "effects",
        "t3",
        "no worker claimed",
        lambda e: edit.retell(e, edit.event(e, "effect", Kind.OK), attempt=9),
    ),
    (
        "terminal",
        "t1",
        "claimed after attempt 1 ended in SUCCESS",
        lambda e: _claim_again(e, "t1", "SUCCESS"),
    ),
    (
        "terminal",
        "t10",
        "claimed after attempt 1 ended in CANCELLED",
        lambda e: _claim_again(e, "t10", "CANCELLED"),
    ),
    (
        "terminal",
        "t1",
        "no worker claimed",
        lambda e: edit.retell(e, _run(e, "t1", Kind.INVOKE), attempt=2),
    ),
    (
        "terminal",
        "t3",
        "started twice",
        lambda e: edit.retell(e, _run(e, "t3", Kind.INVOKE), attempt=2),
    ),
    (
        "terminal",
        "t1",
        "before it was claimed",
        lambda e: edit.amend(e, edit.place(e, "t1", "PROCESSING"), later=SECOND),
    ),
    (
        "fences",
        "t5",
        "has attempt 3 where 2 was due",
        lambda e: edit.amend(e, edit.place(e, "t5", "PROCESSING", 1), attempt=3),
    ),
    (
        "fences",
        "t5",
        "SUCCESS has attempt 1",
        lambda e: edit.amend(e, edit.place(e, "t5", "SUCCESS"), attempt=1),
    ),
    (
        "fences",
        "t1",
        "without a settlement",
        lambda e: edit.append(
            e, (at := edit.place(e, "t1", "PROCESSING")), after=at, attempt=2, worker_id="w3"
        ),
    ),
    (
        "fences",
        "t5",
        "its end was not recorded",
        lambda e: e.commits.pop(edit.place_in(e, "attempts", "t5")),
    ),
    (
        "fences",
        "t5",
        "attempt 1 of w2 ended",
        lambda e: edit.amend(e, edit.place_in(e, "attempts", "t5"), worker_id="w2"),
    ),
    ("fences", "t5", "ended twice", lambda e: edit.append(e, edit.place_in(e, "attempts", "t5"))),
    (
        "fences",
        "t1",
        "ended nothing",
        lambda e: edit.append(e, edit.place_in(e, "attempts", "t5"), task_id="t1"),
    ),
    (
        "fences",
        "t8",
        "9 of w1 ended attempt 2",
        lambda e: edit.amend(e, edit.place_in(e, "attempts", "t8", 1), attempt=9),
    ),
    (
        "fences",
        "t5",
        "to go to PENDING",
        lambda e: edit.amend(e, edit.place_in(e, "attempts", "t5"), next_state="PENDING"),
    ),
    (
        "fences",
        "t5",
        "after it was closed",
        lambda e: edit.amend(e, edit.place(e, "t5", "PROCESSING", 1), worker_id="w2"),
    ),
    ("fences", "t3", "had not returned", lambda e: e.events.pop(_run(e, "t3", Kind.OK))),
    (
        "fences",
        "t3",
        "had not returned",
        lambda e: edit.retell(e, _run(e, "t3", Kind.OK), attempt=1),
    ),
    (
        "fences",
        "t1",
        "had not returned",
        lambda e: edit.amend(e, edit.place(e, "t1", "SUCCESS"), later=-SECOND),
    ),
    ("transitions", "t4", "SCHEDULED became PROCESSING", lambda e: _unmove(e, "t4", "PENDING")),
    (
        "transitions",
        "t1",
        "SUCCESS became FAILED",
        lambda e: edit.append(e, edit.place(e, "t1", "SUCCESS"), state="FAILED"),
    ),
    (
        "transitions",
        "t6",
        "requested a redrive",
        lambda e: edit.append(e, edit.place(e, "t6", "FAILED"), state="SCHEDULED"),
    ),
    ("transitions", "t1", "where it was not there", lambda e: _unmove(e, "t1", "PENDING")),
    (
        "transitions",
        "t1",
        "insert to PENDING",
        lambda e: edit.append(e, edit.place(e, "t1", "PENDING")),
    ),
    (
        "transitions",
        "t1",
        "SUCCESS with w1",
        lambda e: edit.amend(e, edit.place(e, "t1", "SUCCESS"), worker_id="w1"),
    ),
    (
        "transitions",
        "t1",
        "with no worker",
        lambda e: edit.amend(e, edit.place(e, "t1", "PROCESSING"), worker_id=None),
    ),
    (
        "transitions",
        "t1",
        "PROCESSING with attempt 0",
        lambda e: edit.amend(e, edit.place(e, "t1", "PROCESSING"), attempt=0),
    ),
    (
        "transitions",
        "t1",
        "changed its attempt or its owner",
        lambda e: edit.append(
            e, (at := edit.place(e, "t1", "PROCESSING")), after=at, worker_id="w3"
        ),
    ),
    (
        "transitions",
        "t1",
        "PENDING became GONE",
        lambda e: edit.append(e, (at := edit.place(e, "t1", "PENDING")), after=at, verb="delete"),
    ),
    ("transitions", "t1", "the snapshot has FAILED", lambda e: edit.row(e, "t1", state="FAILED")),
    ("transitions", "t1", "the snapshot has GONE", lambda e: _drop(e, "t1")),
    ("reads", "t1", "which it never was", lambda e: _read(e, e.run.ended, "t1", "FAILED", 1)),
    ("reads", "t1", "which it never was", lambda e: _read(e, e.run.ended, "t1", "SUCCESS", 2)),
    (
        "reads",
        "t1",
        "had read SUCCESS",
        lambda e: _read(e, _end_of(e, "t1") + 3 * TICK, "t1", "PROCESSING", 1),
    ),
    (
        "reads",
        "t1",
        "became so",
        lambda e: _read(e, _end_of(e, "t1") - 4 * TICK, "t1", "SUCCESS", 1),
    ),
    (
        "reads",
        "t8",
        "had ceased to be so",
        lambda e: _read(e, _end_of(e, "t8", "FAILED") + 2 * SECOND, "t8", "PENDING", 2),
    ),
    (
        "reads",
        "t1",
        "was answered about t2",
        lambda e: _read(e, e.run.ended, "t1", "SUCCESS", 1, told="t2"),
    ),
    ("accounts", None, "at the end", lambda e: _ended_with(e, cents=999)),
    ("accounts", "t2", "1 cents vanished", lambda e: e.commits.pop(_credit(e, "t2"))),
    ("accounts", None, "1 cents appeared", lambda e: edit.amend(e, _credit(e, "t2"), alone=True)),
    (
        "convergence",
        "t1",
        "still holds 1 deliveries",
        lambda e: edit.lane(e, "leaseq:{default}:ready:high", "t1"),
    ),
    (
        "convergence",
        "t1",
        "the first is SUCCESS",
        lambda e: edit.lane(e, "leaseq:{default}:processing:w1", "t1"),
    ),
    ("convergence", None, "has w2,", lambda e: e.snapshot.dispatch[2].members.append("w2")),
    ("convergence", None, "has w2,", lambda e: e.snapshot.dispatch[0].members.append("w2")),
    ("convergence", None, "without an owner", lambda e: edit.lane(e, "leaseq:{default}:scratch")),
    ("convergence", None, "without an owner", lambda e: edit.lane(e, "leaseq:scratch")),
    (
        "convergence",
        None,
        "still has a backlog of high",
        lambda e: edit.lane(e, "leaseq:{default}:backlog", "high"),
    ),
    ("convergence", "t1", "still PENDING", lambda e: edit.row(e, "t1", state="PENDING")),
    ("convergence", "t1", "still PROCESSING", _undrained),
    (
        "poison",
        "t1",
        "FAILED (error)",
        lambda e: edit.row(e, "t1", state="FAILED", error_code="error"),
    ),
    (
        "poison",
        "t1",
        "FAILED (crashed)",
        lambda e: edit.row(e, "t1", state="FAILED", error_code="crashed", crash_count=3),
    ),
    (
        "poison",
        "t6",
        "FAILED (crashed)",
        lambda e: edit.row(e, "t6", error_code="crashed", crash_count=3),
    ),
    (
        "poison",
        "t1",
        "no client requested",
        lambda e: edit.row(e, "t1", state="CANCELLED", error_code="cancelled"),
    ),
    ("poison", "t7", "FAILED (timeout) was due", lambda e: edit.row(e, "t7", error_code="error")),
    (
        "poison",
        "t8",
        "SUCCESS (no code)",
        lambda e: edit.row(e, "t8", state="SUCCESS", error_code=None),
    ),
    ("poison", "t8", "charged with 4 crashes", lambda e: edit.row(e, "t8", crash_count=4)),
    ("poison", "t8", "given up after 1 crashes", lambda e: edit.row(e, "t8", crash_count=1)),
    (
        "schedule",
        "t1",
        "before it was due",
        lambda e: edit.row(e, "t1", run_at=edit.row(e, "t1")["started_at"] + 0.01),
    ),
    (
        "schedule",
        "t5",
        "attempt 2 was claimed",
        lambda e: _due_later(e, edit.place(e, "t5", "PROCESSING", 1)),
    ),
    (
        "schedule",
        "t4",
        "before its delay",
        lambda e: edit.amend(e, edit.place(e, "t4", "PROCESSING"), later=-SECOND // 4),
    ),
    (
        "cancel",
        "t9",
        "after the ledger had cancelled",
        lambda e: _claim_again(_late_cancel(e), "t9", "CANCELLED"),
    ),
    ("cancel", "t9", "after an acknowledged cancel", lambda e: _claim_again(e, "t9", "CANCELLED")),
    ("cancel", "t1", "not recorded that", lambda e: _cancel(e, "t1", "CANCELLED", at=e.run.ended)),
    ("cancel", "t1", "got PENDING", lambda e: _cancel(e, "t1", "PENDING", at=e.run.ended)),
    (
        "cancel",
        "t9",
        "answered about t10",
        lambda e: _cancel(e, "t9", "CANCELLED", at=e.run.ended, told="t10"),
    ),
    (
        "cancel",
        "t5",
        "after an acknowledged cancel",
        lambda e: _cancel(e, "t5", "PROCESSING", at=_end_of(e, "t5", "SCHEDULED")),
    ),
    (
        "cancel",
        "t5",
        "had a request to cancel",
        lambda e: _despite(e, edit.place(e, "t5", "PROCESSING", 1)),
    ),
    (
        "cancel",
        "t11",
        "and it had not",
        lambda e: edit.amend(e, edit.place(e, "t11", "SUCCESS"), later=SECOND),
    ),
]


def _end_of(e: Evidence, task: str, state: str = "SUCCESS") -> int:
    return e.commits[edit.place(e, task, state)].at


def _credit(e: Evidence, task: str) -> int:
    """The second of the two accounts that a transfer changed."""
    lsn = e.commits[edit.place(e, task, "SUCCESS")].lsn
    return [at for at, one in enumerate(e.commits) if (one.lsn, one.table) == (lsn, "accounts")][1]


def _despite(e: Evidence, at: int) -> None:
    edit.amend(e, at, cancel_requested_at=e.commits[at].row["started_at"])


def _due_later(e: Evidence, at: int) -> None:
    edit.amend(e, at, run_at=str(e.commits[at].row["started_at"]).replace("2027", "2028"))


def _late_cancel(e: Evidence) -> Evidence:
    """As if the clients' clocks had run ahead: only the order of commits is left to tell."""
    for at, one in enumerate(e.events):
        if one.op == "cancel":
            edit.retell(e, at, at=one.at + 3600 * SECOND)
    return e


@pytest.mark.parametrize(
    ("checker", "task", "words", "lie"),
    LIES,
    ids=[f"{lie[0]}-{number}" for number, lie in enumerate(LIES)],
)
def test_corrupted_history_is_found(checker: str, task: str | None, words: str, lie: Lie) -> None:
    evidence = told().evidence()
    assert CHECKERS[checker](evidence).verdict is Verdict.VALID
    evidence = told().evidence()
    edited = lie(evidence)
    finding = CHECKERS[checker](edited if isinstance(edited, Evidence) else evidence)
    assert finding.verdict is Verdict.INVALID, finding.said
    assert any(
        words in violation.said and violation.task == task for violation in finding.violations
    ), finding.violations
    assert finding.facts["violations"] == len(finding.violations)


def test_every_checker_has_been_lied_to() -> None:
    lies = Counter(checker for checker, *_ in LIES)
    assert {name for name in OURS if lies[name] >= 3} == set(OURS)
    assert set(OURS) <= CHECKERS.keys()
