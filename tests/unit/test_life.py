"""The life of a task as lanes, as a picture and as lines, from forged facts."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree

import pytest
from msgspec.structs import replace

from leaseq.model import AttemptRecord, Outcome, Priority, State, Task, WorkerRecord
from leaseq.operations.life.facts import Act, LifeFacts, Refusal
from leaseq.operations.life.history import task_history
from leaseq.operations.life.lanes import MOST_LANES, Life, LifeLane, life_of
from leaseq.operations.life.picture import draw_life

START = datetime(2030, 1, 1, 12, 0, 0, tzinfo=UTC)
HOSTILE = '"><img src=x onerror=alert(1)>{{7*7}}]]>\x1b'
TASK = Task(
    task_id="019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6a7b",
    tenant="default",
    queue="billing",
    type="charge",
    state=State.PENDING,
    priority=Priority.NORMAL,
    attempt=0,
    retry_count=0,
    crash_count=0,
    loss_count=0,
    max_attempts=5,
    timeout_seconds=30.0,
    idempotency_key=None,
    created_at=START,
    run_at=START,
    started_at=None,
    finished_at=None,
    expires_at=None,
    cancel_requested_at=None,
    worker_id=None,
    payload=b"{}",
    result=None,
    error=None,
    progress=None,
    hand_back_count=0,
    labels={},
    limit_name=None,
    concurrency_key=None,
    in_line=None,
    unique_key=None,
    unique_hold=None,
    has_unique_key=None,
    erased_at=None,
    key_freed_at=None,
)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def an_attempt(number: int, began: float, ended: float, **said: Any) -> AttemptRecord:
    usual = AttemptRecord(
        task_id=TASK.task_id,
        attempt=number,
        outcome=Outcome.ERRORED,
        worker_id="w" * 32,
        started_at=at(began),
        finished_at=at(ended),
        next_state=State.SCHEDULED,
        error=b'{"type":"ConnectTimeout","message":"no answer"}',
    )
    return replace(usual, **said)


def a_worker(worker_id: str, seen: float, **said: Any) -> WorkerRecord:
    usual = WorkerRecord(
        worker_id=worker_id,
        host="web-2",
        pid=1,
        queues=["billing"],
        version="0",
        started_at=START,
        last_seen=at(seen),
        closed_at=None,
        close_reason=None,
    )
    return replace(usual, **said)


def of(now: float, **said: Any) -> LifeFacts:
    """Facts about a task that is changed in the fields that it has."""
    task = {name: said.pop(name) for name in list(said) if name in Task.__struct_fields__}
    return LifeFacts(now=at(now), task=replace(TASK, **task), **said)


def lane(life: Life, name: str) -> LifeLane:
    (found,) = [each for each in life.lanes if each.name == name]
    return found


def bars(life: Life, name: str) -> list[tuple[str, float, float]]:
    return [
        (bar.kind, (bar.began - START).total_seconds(), (bar.ended - START).total_seconds())
        for bar in lane(life, name).bars
    ]


def test_a_task_that_waits_waits_until_now() -> None:
    life = life_of(of(5))
    assert bars(life, "waits") == [("waits", 0, 5)]
    assert lane(life, "waits").bars[0].is_open
    assert [mark.text for mark in lane(life, "people").marks] == ["submitted"]


def test_a_delayed_task_waits_for_its_time_and_then_for_the_reaper() -> None:
    delayed = of(5, state=State.SCHEDULED, run_at=at(60))
    assert bars(life_of(delayed), "waits") == [("backoff", 0, 5)]
    overdue = of(70, state=State.SCHEDULED, run_at=at(60))
    assert bars(life_of(overdue), "waits") == [("backoff", 0, 60), ("waits", 60, 70)]


def test_waits_backoff_and_attempts_follow_one_another() -> None:
    facts = of(
        100,
        state=State.SUCCESS,
        attempt=2,
        started_at=at(45),
        finished_at=at(50),
        attempts=[an_attempt(1, 2, 4)],
    )
    life = life_of(facts)
    assert bars(life, "waits") == [("waits", 0, 2), ("backoff", 4, 45)]
    assert bars(life, "attempt 1") == [("running", 2, 4)]
    assert bars(life, "attempt 2") == [("running", 45, 50)]
    (failed,) = lane(life, "attempt 1").marks
    assert (failed.kind, failed.text) == ("failed", "failed: ConnectTimeout: no answer")
    (ended,) = lane(life, "attempt 2").marks
    assert (ended.kind, ended.at) == ("succeeded", at(50))


def test_a_lost_attempt_shows_the_silence_of_its_worker_and_the_refused_ending() -> None:
    facts = of(
        30,
        state=State.PROCESSING,
        attempt=2,
        started_at=at(12),
        worker_id="v" * 32,
        attempts=[an_attempt(1, 1, 11, outcome=Outcome.LOST, next_state=State.PENDING)],
        workers={
            "w" * 32: a_worker("w" * 32, 3, closed_at=at(11), close_reason="lease lapsed"),
            "v" * 32: a_worker("v" * 32, 29.5, host="web-3"),
        },
        refusals=[Refusal(at=at(20), attempt=1, worker_id="w" * 32)],
        acts=[Act(at=at(25), action="cancel", actor="ada", outcome="done", detail={})],
    )
    life = life_of(facts)
    assert bars(life, "attempt 1") == [("running", 1, 3), ("silent", 3, 11)]
    assert bars(life, "attempt 2") == [("running", 12, 30)]
    assert lane(life, "attempt 2").who == "vvvvvvvvvvvv on web-3"
    (refused,) = lane(life, "refused").marks
    assert (refused.at, refused.kind) == (at(20), "refused")
    assert [mark.text for mark in lane(life, "people").marks] == ["submitted", "cancel by ada"]
    told = {line.when: line.text for line in task_history(facts.task, facts.attempts, facts)}
    assert "last seen" in told[at(3)]
    assert "lost with its worker" in told[at(11)]
    assert "ending of attempt 1 by worker wwwwwwwwwwww was refused" in told[at(20)]
    assert told[at(25)] == "cancel by ada"


def test_a_running_attempt_whose_worker_is_silent_is_shown_so() -> None:
    facts = of(
        60,
        state=State.PROCESSING,
        attempt=1,
        started_at=at(2),
        worker_id="w",
        workers={"w": a_worker("w", 20)},
    )
    assert bars(life_of(facts), "attempt 1") == [("running", 2, 20), ("silent", 20, 60)]


def test_after_an_end_a_task_waits_again_from_its_redrive_on() -> None:
    redrive = Act(at=at(50), action="redrive", actor="ada", outcome="done", detail={})
    facts = of(
        90,
        state=State.SUCCESS,
        attempt=2,
        started_at=at(52),
        finished_at=at(53),
        attempts=[an_attempt(1, 1, 2, next_state=State.FAILED)],
        acts=[redrive],
    )
    assert bars(life_of(facts), "waits") == [("waits", 0, 1), ("waits", 50, 52)]
    unknown = replace(facts, acts=[])
    assert bars(life_of(unknown), "waits") == [("waits", 0, 1)]


def test_every_time_of_the_picture_is_a_time_of_the_history() -> None:
    facts = of(
        300,
        state=State.FAILED,
        attempt=3,
        started_at=at(200),
        finished_at=at(201),
        attempts=[
            an_attempt(1, 1, 11, outcome=Outcome.LOST, next_state=State.PENDING),
            an_attempt(2, 12, 13),
            an_attempt(3, 200, 201, next_state=State.FAILED),
        ],
        workers={"w" * 32: a_worker("w" * 32, 3)},
        refusals=[Refusal(at=at(20), attempt=1, worker_id=None)],
    )
    told = {line.when for line in task_history(facts.task, facts.attempts, facts)}
    life = life_of(facts)
    times = {bar.began for each in life.lanes for bar in each.bars}
    times |= {bar.ended for each in life.lanes for bar in each.bars}
    times |= {mark.at for each in life.lanes for mark in each.marks}
    assert times <= told


def of_many(count: int) -> LifeFacts:
    attempts = [
        an_attempt(n, n * 10, n * 10 + 5, outcome=Outcome.LOST, worker_id=f"{n:032}")
        for n in range(1, count + 1)
    ]
    return of(
        count * 10 + 60,
        state=State.SCHEDULED,
        attempt=count,
        started_at=attempts[-1].started_at,
        run_at=at(count * 10 + 600),
        attempts=attempts,
        workers={each.worker_id: a_worker(each.worker_id, 1) for each in attempts[-60:]},
    )


def test_a_thousand_attempts_are_fifty_lanes_and_a_small_picture() -> None:
    life = life_of(of_many(1000))
    assert life.earlier == 950
    assert [each.name for each in life.lanes[1:-1]] == [f"attempt {n}" for n in range(951, 1001)]
    assert len(life.lanes) == MOST_LANES + 2
    assert len(draw_life(life).encode()) < 200_000


def test_hand_backs_are_one_bar() -> None:
    handed = an_attempt(1, 1, 30, outcome=Outcome.RELEASED, hand_backs=7)
    life = life_of(of(40, state=State.SCHEDULED, run_at=at(50), attempt=7, attempts=[handed]))
    assert bars(life, "attempts 1-7") == [("handed-back", 1, 30)]


@pytest.mark.parametrize("seconds", [0.05, 5, 300, 100_000, 40_000_000])
def test_a_picture_is_well_formed_without_style_at_any_length(seconds: float) -> None:
    drawn = draw_life(life_of(of(seconds, state=State.SCHEDULED, run_at=at(seconds * 2))))
    root = ElementTree.fromstring(drawn)
    assert root.tag == "svg"
    assert "style=" not in drawn
    assert all(
        200 <= float(x) <= 984 for x in re.findall(r'<rect x="([\d.]+)"[^>]*class="life-bar', drawn)
    )


def test_hostile_texts_are_escaped() -> None:
    hostile = b'{"type":"\\"><img src=x onerror=alert(1)>","message":"{{7*7}}]]>\\u001b"}'
    facts = of(
        30,
        state=State.SCHEDULED,
        run_at=at(90),
        attempt=1,
        attempts=[an_attempt(1, 1, 2, worker_id=HOSTILE, error=hostile, outcome=Outcome.LOST)],
        workers={HOSTILE: a_worker(HOSTILE, 1.5, host=HOSTILE)},
        acts=[Act(at=at(3), action="cancel", actor=HOSTILE, outcome="refused", detail={})],
    )
    drawn = draw_life(life_of(facts))
    ElementTree.fromstring(drawn)
    assert "<img" not in drawn
    assert "&lt;img" in drawn
