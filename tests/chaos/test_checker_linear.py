"""The linear checker finds an order exactly if there is one."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from leaseq_chaos.checkers import linear
from leaseq_chaos.checkers.linear_model import FOREVER, Mark, Operation, What
from leaseq_chaos.checkers.linear_search import search
from leaseq_chaos.evidence import Commit
from leaseq_chaos.history import Kind
from leaseq_chaos.verdict import Verdict
from support.synthetic_history import Forged, at


def good() -> Forged:
    """Lives by the rules, with races, lost answers, another body, a retry, and cancellations of
    each kind."""
    forged = Forged()
    forged.life("t1", "k1")
    forged.did("submit", (0.05, 3), kind=Kind.FAIL, key="k1", said={"variant": "b"}, process="client-2",
               heard={"code": "idempotency_key_reused", "task": "t1"})  # fmt: skip
    forged.submit((5, 6), "k1", "t1", state="SUCCESS", replayed=True)
    forged.did("cancel", (7, 8), kind=Kind.FAIL, task="t1", heard={"code": "task_conflict"})

    forged.did(
        "submit",
        (10, 12),
        kind=Kind.INFO,
        key="k2",
        said={"variant": "b"},
        heard={"error": "timeout"},
    )
    forged.step(13, "t2", "PENDING", key="k2")  # after the time-out, when the client had given up
    forged.submit((12, 14), "k2", "t2", variant="b", replayed=True, process="client-1.2")
    forged.step(14.5, "t2", "PROCESSING", 1, worker="w1")
    forged.read((14.4, 14.7), "t2", "PENDING", 0, process="client-3")
    forged.step(15, "t2", "SCHEDULED", 1, by=(1, "w1", "errored"))
    forged.step(16, "t2", "PENDING", 1)
    forged.step(16.5, "t2", "PROCESSING", 2, worker="w2")
    forged.did("cancel", (16.2, 17.5), task="t2", heard={"state": "CANCELLED"})
    forged.step(17, "t2", "CANCELLED", 2, by=(2, "w2", "cancelled"))

    forged.submit((20, 20.2), None, "t3", state="SCHEDULED")
    forged.step(20.1, "t3", "SCHEDULED")
    forged.did("cancel", (21, 23), kind=Kind.INFO, task="t3", heard={"error": "reset"})
    forged.step(24, "t3", "CANCELLED")
    forged.did("cancel", (27, 28), task="t3", heard={"state": "CANCELLED"}, process="client-4")
    return forged


def backwards(forged: Forged) -> None:
    forged.read((2.2, 2.3), "t1", "PROCESSING", 1)


def another_task(forged: Forged) -> None:
    forged.submit((30, 31), "k1", "t9", state="SUCCESS", replayed=True)


def created_another_task(forged: Forged) -> None:
    first = next(
        event
        for event in forged.events
        if event.op == "submit" and event.kind is Kind.OK and event.key == "k1"
    )
    forged.events[forged.events.index(first)] = replace(first, task="t9")


def answered_before_it_was_done(forged: Forged) -> None:
    """A cancel that shows the task as it was before the request."""
    forged.did("cancel", (0.3, 0.9), task="t1", heard={"state": "PENDING"}, process="client-6")


def unclaimed(forged: Forged) -> None:
    forged.read((14.1, 14.2), "t2", "PROCESSING", 1, process="client-5")


def claimed_after_cancel(forged: Forged) -> None:
    forged.step(29, "t3", "PROCESSING", 1, worker="w1")


def stale_settle(forged: Forged) -> None:
    """The settle of t2's second attempt was meant for the first."""
    _change(forged, "attempts", lambda row: row["outcome"] == "cancelled", attempt=1)


def foreign_settle(forged: Forged) -> None:
    """The settle of t2's second attempt came from the owner of the first."""
    _change(forged, "attempts", lambda row: row["outcome"] == "cancelled", worker_id="w1")


def stale_commit(forged: Forged) -> None:
    """The success of attempt 1 was written by an attempt 0."""
    _change(forged, "effects", lambda row: row["task_id"] == "t1", attempt=0)


def other_body(forged: Forged) -> None:
    forged.submit((30, 31), "k1", "t1", variant="b", state="SUCCESS", replayed=True)


def refused_its_own_body(forged: Forged) -> None:
    forged.did("submit", (30, 31), kind=Kind.FAIL, key="k1", said={"variant": "a"},
               heard={"code": "idempotency_key_reused", "task": "t1"})  # fmt: skip


def refused_before_it_was_there(forged: Forged) -> None:
    forged.did("submit", (9, 9.5), kind=Kind.FAIL, key="k2", said={"variant": "c"}, process="client-7",
               heard={"code": "idempotency_key_reused", "task": "t2"})  # fmt: skip


def lost(forged: Forged) -> None:
    forged.submit((30, 31), "k9", "t9")


def vanished(forged: Forged) -> None:
    forged.did(
        "read", (30, 31), kind=Kind.FAIL, task="t1", heard={"code": "task_not_found", "http": 404}
    )


def two_for_one_key(forged: Forged) -> None:
    forged.step(30, "t8", "PENDING", key="k1")
    forged.submit((29, 31), "k1", "t8", process="client-8")


def cancelled_by_nobody(forged: Forged) -> None:
    forged.events = [
        event
        for event in forged.events
        if event.op != "cancel" or event.task != "t3" or event.at > at(24.5)
    ]


def ended_cancelled_by_nobody(forged: Forged) -> None:
    forged.events = [event for event in forged.events if event.op != "cancel" or event.task != "t2"]


def request_forgotten(forged: Forged) -> None:
    """It was asked to stop, the client was informed, and it waits again."""
    forged.did("cancel", (14.6, 14.8), task="t2", heard={"state": "PROCESSING"}, process="client-6")


def created_by_nobody(forged: Forged) -> None:
    forged.events = [event for event in forged.events if event.key != "k2"]


def skipped_an_attempt(forged: Forged) -> None:
    _change(forged, "tasks", lambda row: row["task_id"] == "t2" and row["attempt"] == 2, attempt=3)


BAD = [
    (backwards, "t1"), (another_task, "t1"), (unclaimed, "t2"), (claimed_after_cancel, "t3"), (stale_settle, "t2"),
    (foreign_settle, "t2"), (created_another_task, "t1"), (answered_before_it_was_done, "t1"),
    (stale_commit, "t1"), (other_body, "t1"), (refused_its_own_body, "t1"), (refused_before_it_was_there, "t2"), (lost, "t9"),
    (vanished, "t1"), (two_for_one_key, "t1"), (cancelled_by_nobody, "t3"), (ended_cancelled_by_nobody, "t2"),
    (request_forgotten, "t2"), (created_by_nobody, "t2"), (skipped_an_attempt, "t2"),
]  # fmt: skip


def _change(
    forged: Forged, table: str, which: Callable[[dict[str, object]], bool], **columns: object
) -> None:
    changed = [
        Commit(c.lsn, c.xid, c.at, c.table, c.verb, {**c.row, **columns})
        if c.table == table and which(c.row)
        else c
        for c in forged.commits
    ]
    assert changed != forged.commits
    forged.commits = changed


def test_a_good_run_is_valid() -> None:
    finding = linear.check(good().evidence())
    assert (finding.verdict, finding.violations) == (Verdict.VALID, [])
    assert finding.facts["objects"] == 3


@pytest.mark.parametrize(("lie", "task"), BAD, ids=[lie.__name__ for lie, _ in BAD])
def test_corrupted_history_is_found(lie: Callable[[Forged], None], task: str) -> None:
    forged = good()
    lie(forged)
    finding = linear.check(forged.evidence())
    assert finding.verdict is Verdict.INVALID
    assert [violation.task for violation in finding.violations] == [task]
    assert "no order explains" in finding.violations[0].said


def test_of_nothing_nothing_is_known() -> None:
    assert linear.check(Forged().evidence()).verdict is Verdict.UNKNOWN


def test_without_commits_nothing_is_known() -> None:
    forged = good()
    forged.commits = []
    assert linear.check(forged.evidence()).verdict is Verdict.UNKNOWN


def test_of_a_task_that_was_pruned_nothing_is_known() -> None:
    forged = good()
    last = forged.commits[-1]
    forged.commits.append(
        replace(last, lsn=last.lsn + 1, table="tasks", verb="delete", row={"task_id": "t1"})
    )
    finding = linear.check(forged.evidence())
    assert (finding.verdict, finding.facts["undecided"]) == (Verdict.UNKNOWN, 1)


def test_writes_of_a_frozen_postgres_are_seen_after_its_heal() -> None:
    """A read of the old state four seconds after the commit: a lie, unless Postgres stood still."""
    forged = Forged()
    forged.submit((0, 0.2), "k", "t1")
    forged.step(0.1, "t1", "PENDING", key="k")
    forged.step(1, "t1", "PROCESSING", 1, worker="w1")
    forged.read((4.5, 5.1), "t1", "PENDING", 0)
    assert linear.check(forged.evidence()).verdict is Verdict.INVALID
    forged.fault("f-1", "freeze-postgres", (0.9, 5))
    assert linear.check(forged.evidence()).verdict is Verdict.VALID


def test_a_search_that_is_given_up_claims_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        linear,
        "search",
        lambda marks, operations, **more: search(marks, operations, **more, most=2),
    )
    finding = linear.check(good().evidence())
    assert finding.verdict is Verdict.UNKNOWN
    assert "could not be decided" in finding.said
    assert finding.facts["undecided"] > 0


# Against brute force: all orders of all choices, and a model written once more.


def explained(marks: list[Mark], operations: list[Operation]) -> bool:
    """Is there any choice of the unsure operations, and any order, that keeps times, the ledger's
    order and the rules?"""
    sure = [operation for operation in operations if operation.sure]
    unsure = [operation for operation in operations if not operation.sure]
    choices = [
        [*sure, *some] for size in range(len(unsure) + 1) for some in combinations(unsure, size)
    ]
    things: list[list[Mark | Operation]] = [[*marks, *choice] for choice in choices]
    return any(
        _in_place(order, marks, operations) and _legal(order)
        for each in things
        for order in permutations(each)
    )


def _in_place(
    order: tuple[Mark | Operation, ...], marks: list[Mark], operations: list[Operation]
) -> bool:
    """Are the ledger's steps in its own order, and second halves after first ones?"""
    halves = [
        (operations[thing.after], thing)
        for thing in order
        if isinstance(thing, Operation) and thing.after >= 0
    ]
    return [thing for thing in order if isinstance(thing, Mark)] == marks and all(
        order.index(first) < order.index(second) for first, second in halves
    )


def _legal(order: tuple[Mark | Operation, ...]) -> bool:
    now: Mark | None = None
    variant, asked, clock, waiting = None, False, 0, None
    for thing in order:
        start, end = (
            (thing.early, thing.late) if isinstance(thing, Mark) else (thing.began, thing.ended)
        )
        clock = max(clock, start)
        if clock > end or (
            waiting is not None and (not isinstance(thing, Mark) or clock > waiting.ended)
        ):
            return False
        if isinstance(thing, Mark):
            if not _may(now, thing, waiting, asked):
                return False
            if waiting is not None and waiting.what is What.SUBMIT:
                variant = waiting.variant
            now, asked, waiting = thing, False, None
        elif (thing.what is What.SUBMIT and now is None) or (
            thing.what is What.CANCEL and now and now.state in ("PENDING", "SCHEDULED")
        ):
            waiting = thing  # and the ledger's next step has to be what it does
        elif thing.what is What.CANCEL and now is not None and now.state == "PROCESSING":
            asked = True
        elif not _sees(thing, now, variant):
            return False
    return waiting is None


def _may(now: Mark | None, mark: Mark, by: Operation | None, asked: bool) -> bool:
    if now is None:
        creates = by is not None and by.what is What.SUBMIT and by.task in (None, mark.task)
        return (
            creates
            and mark.inserts
            and mark.state in ("PENDING", "SCHEDULED")
            and mark.attempt == 0
        )
    if mark.inserts or (by is not None and by.what is not What.CANCEL):
        return False
    move = (now.state, mark.state)
    if move == ("PENDING", "PROCESSING"):
        return by is None and mark.attempt == now.attempt + 1
    if mark.attempt != now.attempt:
        return False
    if move in {("PENDING", "CANCELLED"), ("SCHEDULED", "CANCELLED")}:
        return by is not None
    if by is not None:
        return False
    if now.state == "PROCESSING":
        endings = {"SUCCESS", "FAILED"} | ({"CANCELLED"} if asked else {"PENDING", "SCHEDULED"})
        return mark.state in endings and mark.by_worker in (None, now.worker)
    return move in {("SCHEDULED", "PENDING"), ("FAILED", "PENDING"), ("CANCELLED", "PENDING")}


def _sees(operation: Operation, now: Mark | None, variant: str | None) -> bool:
    if now is None:
        return operation.what is What.ABSENT
    return {
        What.READ: (operation.state, operation.attempt) == (now.state, now.attempt),
        What.SUBMIT: operation.sure and operation.variant == variant,
        What.REUSED: operation.variant != variant,
        What.CANCEL: now.state == "CANCELLED",
        What.CONFLICT: now.state in ("SUCCESS", "FAILED"),
        What.ABSENT: False,
    }[operation.what]


MOMENTS = st.integers(0, 12)
LIVES = [
    [("PENDING", 0), ("PROCESSING", 1), ("SUCCESS", 1)],
    [("PENDING", 0), ("PROCESSING", 1), ("CANCELLED", 1)],
    [("SCHEDULED", 0), ("CANCELLED", 0)],
    [("SCHEDULED", 0), ("PENDING", 0), ("CANCELLED", 0)],
    [("PENDING", 0), ("PROCESSING", 1), ("PENDING", 1)],
    [("PENDING", 0), ("CANCELLED", 0), ("PENDING", 0), ("CANCELLED", 0)],
    [("PENDING", 0), ("SUCCESS", 0)],
    [("PENDING", 0), ("PROCESSING", 2)],
]


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Mark], list[Operation]]:
    """A short life, mostly legal, and a few operations that saw or did something of it, or did
    not."""
    life = draw(st.sampled_from(LIVES))
    marks, moment = [], 0
    for i, (state, attempt) in enumerate(life[: draw(st.integers(1, len(life)))]):
        moment += draw(st.integers(0, 4))
        by = (
            draw(st.sampled_from([None, "w", "v"]))
            if i and life[i - 1][0] == "PROCESSING"
            else None
        )
        owner = "w" if state == "PROCESSING" else None
        width = draw(st.integers(0, 3))
        marks.append(
            Mark(
                moment,
                moment + width,
                "t",
                state,
                attempt,
                worker=owner,
                inserts=i == 0,
                by_worker=by,
            )
        )
    operations = [
        Operation(
            what=What.SUBMIT, process="c", began=0, ended=draw(MOMENTS), task="t", variant="a"
        )
    ]
    operations += [draw(_operation(life)) for _ in range(draw(st.integers(0, 6 - len(marks) - 1)))]
    if (
        operations[-1].what is What.CANCEL
        and operations[-1].sure
        and len(marks) + len(operations) < 6
    ):
        half, place = draw(st.sampled_from(life)), len(operations) - 1
        operations.append(
            replace(operations[-1], what=What.READ, state=half[0], attempt=half[1], after=place)
        )
    return marks, operations


@st.composite
def _operation(draw: st.DrawFn, life: list[tuple[str, int]]) -> Operation:
    what = draw(
        st.sampled_from(
            [
                What.READ,
                What.READ,
                What.CANCEL,
                What.SUBMIT,
                What.REUSED,
                What.CONFLICT,
                What.ABSENT,
            ]
        )
    )
    began = draw(MOMENTS)
    sure = what not in (What.CANCEL, What.SUBMIT) or draw(st.booleans())
    ended = began + draw(st.integers(0, 8)) if sure else FOREVER
    variant = draw(st.sampled_from("ab")) if what in (What.SUBMIT, What.REUSED) else None
    state, attempt = draw(st.sampled_from(life)) if what is What.READ else (None, None)
    return Operation(
        what=what, process="c", began=began, ended=ended, sure=sure, variant=variant, state=state, attempt=attempt,
        task="t" if what is What.SUBMIT and sure else None,
    )  # fmt: skip


def test_the_search_agrees_with_brute_force() -> None:
    answers = {True: 0, False: 0}

    @settings(max_examples=800, deadline=None, derandomize=True, database=None)
    @given(histories())
    def agrees(history: tuple[list[Mark], list[Operation]]) -> None:
        marks, operations = history
        expected = explained(marks, operations)
        answers[expected] += 1
        assert search(marks, operations).explained is expected

    agrees()
    assert min(answers.values()) > 50, "both answers have to come up, or nothing was compared"
