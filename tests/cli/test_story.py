"""The history of a task in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from leaseq.model import AttemptRecord, Outcome, Priority, State, Task
from leaseq.operations.life.history import summary_line, task_history
from leaseq.operations.why.wording import error_line

START = datetime(2030, 1, 1, 12, 0, 0, tzinfo=UTC)
WORKER = "a1b2c3d4e5f6a7b8"


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
        labels={},
        limit_name=None,
        concurrency_key=None,
        in_line=None,
        unique_key=None,
        unique_hold=None,
        has_unique_key=None,
    )
    return replace(usual, **said)


def an_attempt(
    number: int, outcome: Outcome, then: State, error: bytes | None = None
) -> AttemptRecord:
    return AttemptRecord(
        task_id="",
        attempt=number,
        outcome=outcome,
        worker_id=WORKER,
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
    assert [(line.when, line.text) for line in task_history(task, attempts)] == [
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
        == "charge in queue billing: attempt 3, 1 retry, 1 worker lost while it ran"
    )


def test_the_life_of_a_dead_letter_ends_once() -> None:
    attempts = [
        an_attempt(1, Outcome.TIMED_OUT, State.FAILED, b'{"code":"timeout","message":"30 s"}')
    ]
    task = a_task(
        state=State.FAILED, attempt=1, retry_count=1, started_at=at(1), finished_at=at(1.25)
    )
    said = [line.text for line in task_history(task, attempts)]
    assert said[1:] == [
        "attempt 1 started on worker a1b2c3d4e5f6",
        "attempt 1 timed out after 0.250 s: 30 s; not to be retried",
        "ended in FAILED",
    ]


def test_the_life_of_a_task_that_was_cancelled() -> None:
    done = a_task(state=State.CANCELLED, finished_at=at(2), cancel_requested_at=at(1))
    lines = task_history(done, [])
    assert [line.text for line in lines][1:] == ["cancellation was requested", "ended in CANCELLED"]


def test_error_without_words_shows_its_code() -> None:
    assert error_line(b'{"code":"expired"}') == "expired"
    assert error_line(None) == ""
