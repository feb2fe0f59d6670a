"""The history of a task, and the reason why it still waits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from leaseq.cli.timeline import Situation, error_line, summary_line, task_history
from leaseq.model import AttemptRecord, Outcome, Priority, State, Task, WorkerRecord

START = datetime(2030, 1, 1, 12, 0, 0, tzinfo=UTC)
WORKER = WorkerRecord(
    worker_id="a1b2c3d4e5f6a7b8",
    host="ant",
    pid=9,
    queues=["billing"],
    version="1",
    started_at=START,
    last_seen=START,
    closed_at=None,
    close_reason=None,
)
NOWHERE = Situation(lanes=[], holders=[], paused=False, workers=[WORKER])


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def a_task(**said: Any) -> Task:
    usual = Task(
        task_id="019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6a7b",
        tenant="default",
        queue="billing",
        type="charge",
        state=State.PENDING,
        priority=Priority.HIGH,
        attempt=0,
        retry_count=0,
        crash_count=0,
        loss_count=0,
        max_attempts=1,
        timeout_seconds=30.0,
        idempotency_key="order-1",
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
        erased_at=None,
        key_freed_at=None,
    )
    return replace(usual, **said)


def an_attempt(
    number: int, outcome: Outcome, then: State, error: bytes | None = None
) -> AttemptRecord:
    return AttemptRecord(
        task_id="",
        attempt=number,
        outcome=outcome,
        worker_id=WORKER.worker_id,
        started_at=at(number),
        finished_at=at(number + 0.25),
        next_state=then,
        error=error,
    )


def test_the_life_of_a_task_that_failed_twice_and_then_succeeded() -> None:
    error = b'{"code":"error","message":"card\\ndeclined","type":"ValueError"}'
    attempts = [
        an_attempt(1, Outcome.ERRORED, State.SCHEDULED, error),
        an_attempt(2, Outcome.LOST, State.PENDING),
    ]
    task = a_task(
        state=State.SUCCESS,
        attempt=3,
        retry_count=1,
        loss_count=1,
        started_at=at(3),
        finished_at=at(4),
        result=b"1",
    )
    assert [(line.when, line.text) for line in task_history(task, attempts, NOWHERE)] == [
        (START, "submitted with high priority, key order-1; at most 1 attempt of 30 s"),
        (at(1), "attempt 1 started on worker a1b2c3d4e5f6"),
        (
            at(1.25),
            "attempt 1 failed after 0.250 s: ValueError: card declined; to be retried later",
        ),
        (at(2), "attempt 2 started on worker a1b2c3d4e5f6"),
        (at(2.25), "attempt 2 was lost with its worker after 0.250 s; back to the queue"),
        (at(3), "attempt 3 started"),
        (at(4), "ended in SUCCESS after 1.000 s"),
    ]
    assert (
        summary_line(task)
        == "charge in queue billing: attempt 3, 1 retry, running at 1 loss of a worker"
    )


def test_the_life_of_a_dead_letter_ends_once() -> None:
    attempts = [
        an_attempt(1, Outcome.TIMED_OUT, State.FAILED, b'{"code":"timeout","message":"30 s"}')
    ]
    task = a_task(
        state=State.FAILED, attempt=1, retry_count=1, started_at=at(1), finished_at=at(1.25)
    )
    said = [line.text for line in task_history(task, attempts, NOWHERE)]
    assert said[1:] == [
        "attempt 1 started on worker a1b2c3d4e5f6",
        "attempt 1 timed out after 0.250 s: 30 s; not to be retried",
        "ended in FAILED",
    ]


PENDING = a_task()
RUNNING = a_task(state=State.PROCESSING, attempt=1, started_at=at(1), worker_id=WORKER.worker_id)

OTHER = a_task(
    state=State.SCHEDULED,
    hand_back_count=1,
    error=b'{"code":"other_version","message":"unknown field"}',
)
UNKNOWN = a_task(
    state=State.SCHEDULED,
    hand_back_count=1,
    error=b'{"code":"unknown_type","message":"no handler"}',
)


@pytest.mark.parametrize(
    ("task", "where", "said"),
    [
        (
            PENDING,
            replace(NOWHERE, lanes=["high"]),
            ["its delivery is in the high lane of queue billing"],
        ),
        (
            PENDING,
            replace(NOWHERE, holders=[WORKER.worker_id]),
            ["taken by worker a1b2c3d4e5f6 (ant, supervisor 9)"],
        ),
        (PENDING, NOWHERE, ["dispatch has no delivery of it"]),
        (PENDING, replace(NOWHERE, lanes=None, holders=None), ["Redis does not answer"]),
        (
            PENDING,
            replace(NOWHERE, workers=[]),
            ["dispatch has no delivery", "no worker serves queue billing"],
        ),
        (
            PENDING,
            replace(NOWHERE, backlog_since=START),
            ["other tasks wait before it, the first since 2030-01-01 12:00:00 UTC"],
        ),
        (
            PENDING,
            replace(NOWHERE, paused=True),
            ["dispatch has no delivery", "leaseq queues resume billing"],
        ),
        (
            RUNNING,
            replace(NOWHERE, holders=[WORKER.worker_id]),
            ["runs on worker a1b2c3d4e5f6 (ant, supervisor 9)"],
        ),
        (RUNNING, NOWHERE, ["is missing in its processing list"]),
        (RUNNING, replace(NOWHERE, lanes=None, holders=None), ["runs on worker a1b2c3d4e5f6"]),
        (
            a_task(state=State.SCHEDULED, run_at=at(3600)),
            NOWHERE,
            ["is due at 2030-01-01 13:00:00 UTC"],
        ),
        (
            UNKNOWN,
            NOWHERE,
            ["is due at", "no worker that took it has a handler for charge: start one that has"],
        ),
        (OTHER, NOWHERE, ["is due at", "submitted for another version of charge"]),
    ],
)
def test_show_names_the_reason_of_the_wait(task: Task, where: Situation, said: list[str]) -> None:
    present = [line.text for line in task_history(task, [], where) if line.when is None]
    assert len(present) == len(said)
    for line, part in zip(present, said, strict=True):
        assert part in line


def test_a_finished_task_waits_for_nothing() -> None:
    done = a_task(state=State.CANCELLED, finished_at=at(2), cancel_requested_at=at(1))
    lines = task_history(done, [], replace(NOWHERE, workers=[], paused=True))
    assert [line.text for line in lines][1:] == ["cancellation was requested", "ended in CANCELLED"]


def test_error_without_words_shows_its_code() -> None:
    assert error_line(b'{"code":"expired"}') == "expired"
    assert error_line(None) == ""
