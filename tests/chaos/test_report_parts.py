"""The figures of the report are those of the evidence.

Small evidence, made by hand, for which the drawing and the text are known beforehand.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from leaseq.model import State
from leaseq_chaos.evidence import Commit, Evidence, Heard, Run, Snapshot
from leaseq_chaos.history import Event, Kind
from leaseq_chaos.report.charts import area, line, linear, logarithmic, round_up
from leaseq_chaos.report.faults import clock, faults_of, kinds_of, phases_of, refusals_of
from leaseq_chaos.report.life import lives_of, write_lives
from leaseq_chaos.report.markup import element, span, text
from leaseq_chaos.report.recovery import recoveries_of
from leaseq_chaos.report.series import quantile, series_of
from leaseq_chaos.verdict import Finding, Verdict, Violation

BEGAN = 1_000
SECOND = 1_000_000_000
TASK, OTHER = "0198c0de-0000-7000-8000-000000000001", "0198c0de-0000-7000-8000-000000000002"


def _at(seconds: float) -> int:
    return BEGAN + round(seconds * SECOND)


def _evidence(
    *,
    events: list[Event] | None = None,
    commits: list[Commit] | None = None,
    logs: list[Heard] | None = None,
    seconds: float = 10,
) -> Evidence:
    run = Run(
        scenario="s", about="a", seed=1, minutes=1, workers=1, command="c", began=BEGAN, ended=_at(seconds), config={},
    )  # fmt: skip
    snapshot = Snapshot(
        at=_at(seconds), drained=True, waited_seconds=1, attempts=[], effects=[], cents=0, open_workers=[],
        tasks=[{"task_id": TASK, "type": "note", "state": "SUCCESS", "attempt": 2}],
        keys=[{"tenant": "default", "key": "k-1", "task_id": TASK}],
    )  # fmt: skip
    return Evidence(
        run=run, events=events or [], commits=commits or [], logs=logs or [], snapshot=snapshot
    )


def _fault(at: float, kind: Kind, op: str, number: str, **value: Any) -> Event:
    return Event(_at(at), "nemesis", kind, op, key=number, value={"nemesis": "kill-child", **value})


def _row(
    at: float,
    state: str,
    *,
    task: str = TASK,
    verb: str = "update",
    attempt: int = 0,
    worker: str | None = None,
) -> Commit:
    row = {"task_id": task, "state": state, "attempt": attempt, "worker_id": worker}
    return Commit(1, int(at * 1000), _at(at), "tasks", verb, row)


def test_a_fault_lasts_from_its_injection_to_its_heal() -> None:
    events = [
        _fault(1, Kind.INVOKE, "fault", "f-1"),
        _fault(1.1, Kind.OK, "fault", "f-1", target="worker-1"),
        _fault(1.2, Kind.INVOKE, "heal", "f-1"),
        _fault(3, Kind.OK, "heal", "f-1"),
    ]
    (fault,) = faults_of(_evidence(events=events))
    assert (fault.number, fault.family, fault.target, fault.began, fault.ended) == (
        "f-1",
        "process",
        "worker-1",
        1,
        3,
    )
    assert (fault.instant, fault.remark) == (False, "")


def test_a_fault_that_never_healed_lasts_to_the_end() -> None:
    events = [_fault(1, Kind.INVOKE, "fault", "f-1"), _fault(1.1, Kind.OK, "fault", "f-1")]
    (fault,) = faults_of(_evidence(events=events))
    assert (fault.ended, fault.remark) == (10, "never healed")


def test_partial_injection_is_reported() -> None:
    events = [
        _fault(1, Kind.INVOKE, "fault", "f-1"),
        _fault(1.1, Kind.INFO, "fault", "f-1", error="OSError: gone"),
        _fault(2, Kind.OK, "heal", "f-1"),
    ]
    (fault,) = faults_of(_evidence(events=events))
    assert (fault.ended, fault.remark) == (2, "injected by halves: OSError: gone")


def test_impossible_injection_is_no_fault() -> None:
    events = [
        _fault(1, Kind.INVOKE, "fault", "f-1"),
        _fault(1, Kind.FAIL, "fault", "f-1", reason="nobody lives"),
    ]
    evidence = _evidence(events=events)
    assert faults_of(evidence) == []
    assert [(refusal.number, refusal.reason) for refusal in refusals_of(evidence)] == [
        ("f-1", "nobody lives")
    ]


def test_kinds_stand_by_family() -> None:
    names = [
        "flushall",
        "poison-bomb",
        "stall-valkey",
        "kill-backend-hard",
        "kill-worker",
        "clock-valkey",
        "pause-and-kill",
    ]
    events = [
        Event(_at(number), "nemesis", kind, op, key=f"f-{number}", value={"nemesis": name})
        for number, name in enumerate([*names, "flushall"])
        for kind, op in [(Kind.INVOKE, "fault"), (Kind.OK, "fault"), (Kind.OK, "heal")]
    ]
    kinds = kinds_of(faults_of(_evidence(events=events)))
    assert [(name, faults[0].family, len(faults)) for name, faults in kinds.items()] == [
        ("kill-worker", "process", 1),
        ("flushall", "valkey", 2),
        ("kill-backend-hard", "postgres", 1),
        ("stall-valkey", "network", 1),
        ("clock-valkey", "machine", 1),
        ("poison-bomb", "poison", 1),
        ("pause-and-kill", "combined", 1),
    ]


def test_a_phase_lasts_until_the_next() -> None:
    events = [
        Event(_at(at), "runner", Kind.OK, "phase", value={"phase": name})
        for at, name in [(0, "warm-up"), (2, "storm"), (9, "end")]
    ]
    assert [(p.name, p.began, p.ended) for p in phases_of(_evidence(events=events))] == [
        ("warm-up", 0, 2),
        ("storm", 2, 9),
    ]


def test_series_count_what_was_committed() -> None:
    commits = [
        _row(1.1, "PENDING", verb="insert"),
        _row(1.2, "SCHEDULED", verb="insert", task=OTHER),
        _row(3.35, "PROCESSING", attempt=1),
        _row(3.9, "PENDING", attempt=1),
        _row(5.0, "PROCESSING", attempt=2),
        _row(6.1, "SUCCESS", attempt=2),
        _row(7.0, "CANCELLED", task=OTHER),
        Commit(1, 1, _at(7.1), "effects", "insert", {"task_id": TASK}),
        _row(8.0, "SUCCESS", verb="delete"),
    ]
    series = series_of(_evidence(commits=commits))
    assert series.seconds == 1
    assert series.submitted == [0, 2, 0, 0, 0, 0, 0, 0, 0, 0]
    assert series.ended == [0, 0, 0, 0, 0, 0, 1, 1, 0, 0]
    assert series.backlog[State.PENDING] == [0, 1, 1, 1, 1, 0, 0, 0, 0, 0]
    assert series.backlog[State.PROCESSING] == [0, 0, 0, 0, 0, 1, 0, 0, 0, 0]
    assert series.backlog[State.SCHEDULED] == [0, 1, 1, 1, 1, 1, 1, 0, 0, 0]
    # the first claim, and not of a scheduled task
    assert series.claimed.p50 == [None, 2.25, *[None] * 8]
    assert series.finished.p99 == [None, 5.0, *[None] * 8]


def test_a_long_run_has_wider_buckets_and_still_rates_per_second() -> None:
    commits = [
        _row(4000 + number / 10, "PENDING", verb="insert", task=str(number)) for number in range(9)
    ]
    series = series_of(_evidence(commits=commits, seconds=5400))
    assert (series.seconds, len(series.submitted)) == (3, 1800)
    assert sum(series.submitted) == pytest.approx(3)


def test_a_quantile_is_a_value_that_occurred() -> None:
    assert [quantile([1, 2, 3, 4], share) for share in (0.5, 0.99, 0.01)] == [2, 4, 1]


def test_a_line_breaks_off_where_there_is_no_value() -> None:
    scale = linear(top=10, height=100)
    assert line([0, 10, None, 5], seconds=2, scale=scale) == "M1 100L3 0M7 50L7 50"
    assert area([10, 10], [0, 5], seconds=1, scale=scale) == "M0.5 0L1.5 0L1.5 50L0.5 100Z"


def test_scales_run_from_the_bottom_to_the_top() -> None:
    scale = logarithmic(bottom=0.01, top=100, height=80)
    assert [round(scale(value)) for value in (0, 0.01, 1, 100)] == [80, 80, 40, 0]
    assert [round_up(value) for value in (0.2, 1, 1.5, 12, 201, 500)] == [1, 1, 2, 20, 500, 500]


def test_a_moment_reads_as_a_clock() -> None:
    assert [clock(at) for at in (0, 59.96, 187.4, -1.5)] == [
        "0:00.0",
        "1:00.0",
        "3:07.4",
        "-0:01.5",
    ]
    assert clock(61.2345, 3) == "1:01.234"


def test_markup_escapes_what_it_is_given() -> None:
    assert element("a", text("<b>"), href='"><script>', class_="x", hidden=True, title=None) == (
        '<a href="&quot;&gt;&lt;script&gt;" class="x" hidden>&lt;b&gt;</a>'
    )
    assert span("&") == "<span>&amp;</span>"


def test_recoveries_are_read_from_the_figures() -> None:
    facts = {
        "kill-child count": 4.0, "kill-child p50": 0.1, "kill-child max": 9.0, "kill-child judged": 1.5, "kill-child bound": 3.0,
        "flushall count": 2.0, "flushall judged": 7.0, "flushall bound": 8.0, "seconds from the last heal to the last end": 1.0,
    }  # fmt: skip
    finding = Finding(
        checker="recovery", invariant="i", verdict=Verdict.VALID, said="s", facts=facts
    )
    assert [(r.nemesis, r.count, r.judged, r.strain) for r in recoveries_of([finding])] == [
        ("flushall", 2, 7.0, 0.875),
        ("kill-child", 4, 1.5, 0.5),
    ]
    assert (
        recoveries_of(
            [Finding(checker="reads", invariant="i", verdict=Verdict.VALID, said="s", facts=facts)]
        )
        == []
    )


def _wronged(*tasks: str | None) -> list[Finding]:
    violations = [Violation("it is wrong", task) for task in tasks]
    return [
        Finding(
            checker="effects",
            invariant="i",
            verdict=Verdict.INVALID,
            said="s",
            violations=violations,
        )
    ]


def _lived() -> Evidence:
    events = [
        Event(_at(1), "client-3", Kind.INVOKE, "submit", key="k-1", value={"type": "note"}),
        Event(_at(1.5), "client-3", Kind.INFO, "submit", key="k-1", value={"error": "timed out"}),
        Event(_at(1.6), "client-4", Kind.INVOKE, "submit", key="k-2", value={"type": "note"}),
        _fault(2.5, Kind.INVOKE, "fault", "f-7"),
        _fault(2.6, Kind.OK, "fault", "f-7", target="worker-1"),
        Event(
            _at(2.7),
            "handler-71-9",
            Kind.INVOKE,
            "run",
            task=TASK,
            attempt=1,
            value={"type": "note"},
        ),
        _fault(3, Kind.OK, "heal", "f-7"),
        _fault(9, Kind.INVOKE, "fault", "f-8"),
    ]
    commits = [
        _row(1.1, "PENDING", verb="insert"),
        _row(1.7, "PENDING", verb="insert", task=OTHER),
        _row(2, "PROCESSING", attempt=1, worker="w-1"),
        Commit(
            1,
            5,
            _at(3),
            "attempts",
            "insert",
            {"task_id": TASK, "attempt": 1, "outcome": "lost", "worker_id": "w-1"},
        ),
        _row(3, "PENDING", attempt=1),
    ]
    logs = [
        Heard(
            _at(2.8),
            "worker-1",
            {"event": "child.died", "worker_id": "w-1", "pid": 4, "level": "error"},
        ),
        Heard(
            _at(2.9),
            "reaper-1",
            {"event": "task.redispatched", "task_ids": [OTHER, TASK], "reason": "orphaned"},
        ),
        Heard(_at(2.9), "reaper-1", {"event": "loop.failed", "error": f"no row for {TASK}"}),
        Heard(_at(2.9), "reaper-1", {"event": "attempt.reaped", "task_id": OTHER, "attempt": 1}),
        Heard(_at(9), "worker-1", {"event": "child.died", "worker_id": "w-1"}),
    ]
    return _evidence(events=events, commits=commits, logs=logs)


def test_timeline_uses_all_evidence_of_its_task() -> None:
    (life,) = lives_of(_lived(), _wronged(TASK, None, TASK))
    assert [(moment.source, moment.what, moment.open) for moment in life.moments] == [
        ("client-3", 'submit invoke, key k-1, {"type":"note"}', ()),
        ("ledger", "insert tasks: state PENDING, attempt 0 (transaction 1100)", ()),
        ("client-3", 'submit info, key k-1, {"error":"timed out"}', ()),
        (
            "ledger",
            "update tasks: state PENDING → PROCESSING, attempt 0 → 1, worker_id none → w-1 (transaction 2000)",
            (),
        ),
        ("fault", "f-7 kill-child at worker-1", ("f-7",)),
        ("handler", 'run invoke, attempt 1, {"type":"note"}', ("f-7",)),
        ("worker-1", "child.died: worker_id w-1", ("f-7",)),
        (
            "reaper-1",
            f'task.redispatched: task_ids ["{OTHER}","{TASK}"], reason orphaned',
            ("f-7",),
        ),
        ("reaper-1", f"loop.failed: error no row for {TASK}", ("f-7",)),
        (
            "ledger",
            "insert attempts: attempt 1, outcome lost, worker_id w-1 (transaction 5)",
            ("f-7",),
        ),
        (
            "ledger",
            "update tasks: state PROCESSING → PENDING, worker_id w-1 → none (transaction 3000)",
            ("f-7",),
        ),
        ("fault", "f-7 kill-child healed", ("f-7",)),
    ]
    assert (life.about, life.began) == ("a note; at the end SUCCESS, attempt 2", 1)
    assert life.wrongs == ["effects: it is wrong", "effects: it is wrong"]


def test_a_task_of_which_nothing_is_known_has_a_life_without_moments() -> None:
    (life,) = lives_of(_evidence(), _wronged("0198c0de-0000-7000-8000-00000000000f"))
    assert (life.about, life.moments) == ("not in the ledger at the end", [])


def test_lives_are_written_beside_the_page_and_replace_those_of_before(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "before.txt").write_text("an earlier judgement")
    write_lives(tmp_path, _lived(), _wronged(TASK, OTHER))
    assert sorted(path.stem for path in (tmp_path / "tasks").iterdir()) == [TASK, OTHER]
    told = (tmp_path / "tasks" / f"{TASK}.txt").read_text(encoding="utf-8").splitlines()
    assert told[0] == f"task {TASK}"
    assert "WRONG  effects: it is wrong" in told
    assert told[4] == '   0:01.000  client-3  submit invoke, key k-1, {"type":"note"}'
