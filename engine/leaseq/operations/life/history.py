"""The history of one task in words, from its submission to its end.

Pure functions: from the records of the ledger to lines. All times are those of Postgres, and they
are compared only with each other. `leaseq.operations.why` explains the present.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from msgspec import Struct

from leaseq.model import TERMINAL, AttemptRecord, Moment, Outcome, State, Task
from leaseq.operations.life.facts import LifeFacts, is_done
from leaseq.operations.why.wording import SHORT, error_line


class LifeLine(Struct, frozen=True):
    """One event."""

    text: str
    when: Moment | None


def task_history(
    task: Task, attempts: Sequence[AttemptRecord], facts: LifeFacts | None = None
) -> list[LifeLine]:
    """The whole history, oldest first. With the facts, also when workers fell silent, which endings
    were refused, and what people did."""
    lines = [*_past(task, attempts)]
    if facts is not None:
        lines += _beside(facts)
    # A stable order: lines of one moment stay in their order.
    known = [line for line in lines if line.when is not None]
    return sorted(known, key=lambda line: line.when or task.created_at)


def summary_line(task: Task) -> str:
    """The state of the task in one line."""
    counts = [f"attempt {task.attempt}" if task.attempt else "not started yet"]
    counts += [_count(task.retry_count, "retry", "retries")] if task.retry_count else []
    counts += [_count(task.crash_count, "crash", "crashes")] if task.crash_count else []
    counts += (
        [f"{_count(task.loss_count, 'worker', 'workers')} lost while it ran"]
        if task.loss_count
        else []
    )
    counts += (
        [f"handed back {_count(task.hand_back_count, 'time', 'times')} in a row"]
        if task.hand_back_count
        else []
    )
    return f"{task.type} in queue {task.queue}: {', '.join(counts)}"


def _past(task: Task, attempts: Sequence[AttemptRecord]) -> Iterator[LifeLine]:
    key = f", key {task.idempotency_key}" if task.idempotency_key else ""
    limits = (
        f"at most {_count(task.max_attempts, 'attempt', 'attempts')} of {task.timeout_seconds:g} s"
    )
    yield LifeLine(
        f"submitted with {task.priority.name.lower()} priority{key}; {limits}", task.created_at
    )
    for attempt in attempts:
        if (attempt.hand_backs or 1) > 1:
            yield LifeLine(f"attempt {attempt.attempt} started", attempt.started_at)
        else:
            yield LifeLine(
                f"attempt {attempt.attempt} started on worker {attempt.worker_id[:SHORT]}",
                attempt.started_at,
            )
        yield LifeLine(_ending(attempt), attempt.finished_at)
    recorded = any(attempt.last == task.attempt for attempt in attempts)
    if task.attempt and not recorded:
        on = f" on worker {task.worker_id[:SHORT]}" if task.worker_id else ""
        yield LifeLine(f"attempt {task.attempt} started{on}", task.started_at)
    if task.cancel_requested_at is not None:
        yield LifeLine("cancellation was requested", task.cancel_requested_at)
    if task.state in TERMINAL:
        yield LifeLine(_end(task, recorded=recorded), task.finished_at)
    if task.key_freed_at is not None:
        freed = "its idempotency key was freed for another task; it cannot run again"
        yield LifeLine(freed, task.key_freed_at)
    if task.erased_at is not None:
        yield LifeLine(
            "payload, result, error, progress and attempts were erased; it cannot run again",
            task.erased_at,
        )


def _beside(facts: LifeFacts) -> Iterator[LifeLine]:
    """Lines that come from other rows than those of the task and its attempts."""
    for attempt in facts.attempts:
        heard = facts.heard_of(attempt)
        if heard is not None:
            worker = facts.workers[attempt.worker_id]
            on = f" on {worker.host}" if worker.host else ""
            yield LifeLine(
                f"worker {attempt.worker_id[:SHORT]}{on} was last seen, in attempt {attempt.attempt}",
                heard,
            )
    for refusal in facts.refusals:
        by = f" by worker {refusal.worker_id[:SHORT]}" if refusal.worker_id else ""
        text = (
            f"an ending of attempt {refusal.attempt}{by} was refused: the task had been taken back"
        )
        yield LifeLine(text, refusal.at)
    for act in facts.acts:
        by = f" by {act.actor}" if act.actor else ""
        made = act.detail.get("task_id") if act.action == "replay" else None
        text = f"{act.action.replace('_', ' ')}{by}{f' as task {made}' if made else ''}"
        yield LifeLine(text if is_done(act) else f"{text}: {act.outcome}", act.at)


def _ending(attempt: AttemptRecord) -> str:
    took = _seconds(attempt.started_at, attempt.finished_at)
    text = f"attempt {attempt.attempt} {_outcome(attempt.outcome)} after {took}"
    if attempt.last > attempt.attempt:
        by = attempt.worker_id[:SHORT]
        text = f"attempts {attempt.attempt} to {attempt.last} were handed back within {took}, the last by worker {by}"
    reason = error_line(attempt.error)
    follows = {
        State.SCHEDULED: "to be retried later",
        State.PENDING: "back to the queue",
        State.FAILED: "not to be retried",
        State.CANCELLED: "cancelled",
    }.get(attempt.next_state, attempt.next_state)
    return f"{text}{': ' + reason if reason else ''}; {follows}"


def _outcome(outcome: Outcome) -> str:
    return {
        Outcome.ERRORED: "failed",
        Outcome.TIMED_OUT: "timed out",
        Outcome.CANCELLED: "was cancelled",
        Outcome.RELEASED: "was handed back",
        Outcome.LOST: "was lost with its worker",
    }.get(outcome, outcome.value)


def _end(task: Task, *, recorded: bool) -> str:
    if task.started_at is not None and task.finished_at is not None and not recorded:
        return f"ended in {task.state} after {_seconds(task.started_at, task.finished_at)}"
    return f"ended in {task.state}"


def _seconds(start: datetime, end: datetime) -> str:
    return f"{(end - start).total_seconds():.3f} s"


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


__all__ = ["LifeLine", "summary_line", "task_history"]
