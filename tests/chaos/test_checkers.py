"""Correct runs are valid, and runs with too little evidence are unknown.

Also what looks wrong and is not: handlers that start late, readers that are slow, a Postgres that
shows late what it has written.
"""

from __future__ import annotations

from msgspec.structs import replace

from leaseq_chaos.checkers import reads
from leaseq_chaos.checkers.answer import KEPT, answer
from leaseq_chaos.checkers.catalogue import CHECKERS
from leaseq_chaos.checkers.index import index
from leaseq_chaos.evidence import Evidence
from leaseq_chaos.history import Event, Kind
from leaseq_chaos.verdict import Verdict, Violation
from support import corrupted_history as edit
from support.valid_history import TICK, Story, told

WITHOUT_COMMITS = {"accepted", "keys", "convergence", "poison"}
BY_COMMITS = {
    "effects",
    "terminal",
    "fences",
    "transitions",
    "reads",
    "accounts",
    "schedule",
    "cancel",
}
OURS = WITHOUT_COMMITS | BY_COMMITS
SECOND = 1_000_000_000


def verdicts(evidence: Evidence, names: set[str] = OURS) -> dict[str, Verdict]:
    return {name: CHECKERS[name](evidence).verdict for name in sorted(names)}


def test_a_good_story_is_valid_to_every_checker() -> None:
    evidence = told().evidence()
    for name in OURS:
        finding = CHECKERS[name](evidence)
        assert (finding.checker, finding.verdict, finding.violations) == (
            name,
            Verdict.VALID,
            [],
        ), finding


def test_a_run_in_which_nothing_happened_is_unknown_to_every_checker() -> None:
    assert set(verdicts(Story().evidence()).values()) == {Verdict.UNKNOWN}


def test_a_run_without_its_commits_is_unknown_to_whoever_needs_them() -> None:
    evidence = replace(told().evidence(), commits=[])
    assert set(verdicts(evidence, BY_COMMITS).values()) == {Verdict.UNKNOWN}
    assert set(verdicts(evidence, WITHOUT_COMMITS).values()) == {Verdict.VALID}


def test_commits_that_are_out_of_order_are_no_evidence() -> None:
    evidence = told().evidence()
    evidence.commits.reverse()
    assert set(verdicts(evidence, BY_COMMITS).values()) == {Verdict.UNKNOWN}


def test_a_task_of_which_no_commit_was_seen_makes_it_unknown() -> None:
    evidence = told().evidence()
    evidence.commits[:] = [one for one in evidence.commits if one.row.get("task_id") != "t1"]
    assert set(verdicts(evidence, BY_COMMITS).values()) == {Verdict.UNKNOWN}


def test_successes_without_any_history_of_handlers_are_unknown() -> None:
    evidence = told().evidence()
    evidence.events[:] = [one for one in evidence.events if one.op != "run"]
    assert verdicts(evidence, {"fences"}) == {"fences": Verdict.UNKNOWN}


def test_a_type_without_a_fate_is_unknown() -> None:
    evidence = told().evidence()
    edit.row(evidence, "t1", type="surprise")
    assert verdicts(evidence, {"poison"}) == {"poison": Verdict.UNKNOWN}


def test_rest_without_a_drain_is_unknown() -> None:
    assert verdicts(told().evidence(drained=False), {"convergence"}) == {
        "convergence": Verdict.UNKNOWN
    }


def test_no_key_no_answer_about_keys() -> None:
    story = Story()
    task = story.submit("note", keyed=False)
    story.claim(task)
    story.succeed(task)
    assert verdicts(story.evidence(), {"keys", "accepted"}) == {
        "accepted": Verdict.VALID,
        "keys": Verdict.UNKNOWN,
    }


def test_a_stale_handler_that_starts_late_is_not_accused() -> None:
    """Claimed in time, taken away, ended by another; only then does the first one come to run."""
    story = Story()
    task = story.submit("plain")
    story.claim(task, "w2", start=False)
    story.close("w2")
    story.end(task, "lost", "PENDING", loss_count=1)
    story.claim(task, "w1")
    story.succeed(task)
    story.note(Kind.INVOKE, "run", "handler-w2", task=task, attempt=1)
    story.note(Kind.OK, "effect", "handler-w2", task=task, attempt=1)
    story.note(Kind.OK, "run", "handler-w2", task=task, attempt=1)
    assert set(verdicts(story.evidence()).values()) == {Verdict.VALID}


def test_requested_redrive_is_legal() -> None:
    story = told()
    story.redrive("t9")
    story.claim("t9")
    story.succeed("t9")
    story.read("t9")
    assert set(verdicts(story.evidence()).values()) == {Verdict.VALID}


def test_reads_that_overlap_may_see_either_version() -> None:
    story = Story()
    task = story.submit("note")
    story.claim(task)
    first, second = story.ask(task, "client-1"), story.ask(task, "client-2")
    old = story.look(task)
    story.succeed(task)
    story.answer(first, story.look(task))
    story.answer(second, old)
    assert verdicts(story.evidence()) == dict.fromkeys(sorted(OURS), Verdict.VALID)


def _slow_to_show(nemesis: str, seconds: int) -> Evidence:
    """SUCCESS is written, and long afterwards still read as PROCESSING, until the end of a
    fault."""
    story = Story()
    task = story.submit("note")
    story.claim(task)
    before = story.look(task)
    story.note(Kind.INVOKE, "fault", "nemesis", key="f-1", value={"nemesis": nemesis})
    story.succeed(task)
    story.wait(seconds)
    story.note(Kind.OK, "heal", "nemesis", key="f-1", value={"nemesis": nemesis})
    story.answer(story.ask(task, "client-1"), before)
    story.read(task)
    return story.evidence()


def test_a_postgres_that_was_frozen_may_show_late_what_it_wrote() -> None:
    assert reads.check(_slow_to_show("freeze-postgres", 5)).verdict is Verdict.VALID
    assert reads.check(_slow_to_show("flushall", 5)).verdict is Verdict.INVALID


def test_overwritten_value_was_visible_before() -> None:
    """The next writer of a row waits for the one before, so a fault excuses no read of an old
    version."""
    story = Story()
    task = story.submit("note")
    story.note(Kind.INVOKE, "fault", "nemesis", key="f-1", value={"nemesis": "freeze-postgres"})
    waiting = story.look(task)
    story.claim(task)
    story.succeed(task)
    story.wait(0.5)
    story.answer(story.ask(task, "client-1"), waiting)
    assert reads.check(story.evidence()).verdict is Verdict.INVALID


def test_unanswered_operation_may_happen_at_any_time() -> None:
    evidence = told().evidence()
    at = evidence.events[0].at
    evidence.events.insert(
        0,
        Event(
            at - 1,
            "client-7",
            Kind.INVOKE,
            "submit",
            key="k1",
            value={"type": "note", "variant": "a"},
        ),
    )
    evidence.events.insert(1, Event(at - 1, "client-8", Kind.INVOKE, "cancel", task="t1"))
    assert verdicts(evidence) == dict.fromkeys(sorted(OURS), Verdict.VALID)
    (unanswered,) = [op for op in index(evidence).ops["submit"] if op.process == "client-7"]
    assert (unanswered.kind, unanswered.ended) == (Kind.INFO, None)


def test_an_answer_without_its_question_may_have_been_asked_for_long_ago() -> None:
    evidence = told().evidence()
    evidence.events.pop(edit.event(evidence, "read", Kind.INVOKE, task="t1"))
    assert verdicts(evidence) == dict.fromkeys(sorted(OURS), Verdict.VALID)


def test_a_client_asks_one_thing_at_a_time_and_an_answer_about_another_task_is_still_its_answer() -> (
    None
):
    evidence = told().evidence()
    edit.ask(
        evidence,
        "read",
        Kind.OK,
        task="t1",
        told="t2",
        heard={"state": "SUCCESS", "attempt": 1},
        at=evidence.run.ended,
    )
    last = max(index(evidence).ops["read"], key=lambda op: op.began)
    assert (last.task, last.told, last.ended) == ("t1", "t2", evidence.run.ended + TICK // 2)


def test_the_index_is_made_once_for_all_checkers() -> None:
    evidence = told().evidence()
    assert index(evidence) is index(evidence)
    assert index(told().evidence()) is not index(evidence)


def test_of_many_violations_the_first_are_kept_and_all_are_counted() -> None:
    finding = answer(
        "any",
        "None.",
        said="much",
        violations=[Violation(str(number)) for number in range(KEPT + 20)],
    )
    assert (len(finding.violations), finding.facts["violations"]) == (KEPT, KEPT + 20)


def test_missing_evidence_outweighs_findings() -> None:
    finding = answer("any", "None.", said="much", missing="everything", violations=[Violation("x")])
    assert (finding.verdict, finding.said, finding.violations) == (
        Verdict.UNKNOWN,
        "everything",
        [],
    )
