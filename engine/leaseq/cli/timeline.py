"""The history of one task in words, from its submission to now.

Pure functions: from the records of the ledger and the location of the delivery to lines. All times
are those of Postgres, and they are compared only with each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from leaseq.errors import CodecMismatch
from leaseq.model import TERMINAL, AttemptRecord, Outcome, State, Task, WorkerRecord

SHORT = 12


class Situation(Struct, frozen=True, kw_only=True):
    """Where the delivery of a task is, and which workers could run it. Lanes and holders are None
    while Redis is away."""

    lanes: list[str] | None
    holders: list[str] | None
    paused: bool
    workers: list[WorkerRecord]  # the open ones that serve its queue
    backlog_since: datetime | None = (
        # its lane is full, and it waits in the ledger; with others, the first of them since then
        None
    )


class Line(Struct, frozen=True):
    """One event of the past (`when`), or a fact about now (no `when`)."""

    text: str
    when: datetime | None = None


def task_history(task: Task, attempts: Sequence[AttemptRecord], situation: Situation) -> list[Line]:
    """The whole history, oldest first, ending with what the task is waiting for, if it has not
    ended."""
    return [*_past(task, attempts), *(Line(text) for text in _present(task, situation))]


def summary_line(task: Task) -> str:
    """The state of the task in one line."""
    counts = [f"attempt {task.attempt}" if task.attempt else "not started yet"]
    counts += [_count(task.retry_count, "retry", "retries")] if task.retry_count else []
    counts += [_count(task.crash_count, "crash", "crashes")] if task.crash_count else []
    counts += (
        [f"running at {_count(task.loss_count, 'loss', 'losses')} of a worker"]
        if task.loss_count
        else []
    )
    counts += (
        [f"handed back {_count(task.hand_back_count, 'time', 'times')} in a row"]
        if task.hand_back_count
        else []
    )
    return f"{task.type} in queue {task.queue}: {', '.join(counts)}"


def error_line(error: bytes | None) -> str:
    """A stored error in one line: class and message, or the code."""
    fields: dict[str, Any] = msgspec.json.decode(error) if error else {}
    text = ": ".join(str(fields[name]) for name in ("type", "message") if fields.get(name))
    return " ".join((text or _code(error)).split())


def _code(error: bytes | None) -> str:
    return str(msgspec.json.decode(error).get("code", "")) if error else ""


def _is_encoded_otherwise(error: bytes | None) -> bool:
    fields: dict[str, Any] = msgspec.json.decode(error) if error else {}
    return fields.get("code") == "other_version" and fields.get("type") == CodecMismatch.__name__


def _past(task: Task, attempts: Sequence[AttemptRecord]) -> Iterator[Line]:
    key = f", key {task.idempotency_key}" if task.idempotency_key else ""
    limits = (
        f"at most {_count(task.max_attempts, 'attempt', 'attempts')} of {task.timeout_seconds:g} s"
    )
    yield Line(
        f"submitted with {task.priority.name.lower()} priority{key}; {limits}", task.created_at
    )
    for attempt in attempts:
        if (attempt.hand_backs or 1) > 1:
            yield Line(f"attempt {attempt.attempt} started", attempt.started_at)
        else:
            yield Line(
                f"attempt {attempt.attempt} started on worker {attempt.worker_id[:SHORT]}",
                attempt.started_at,
            )
        yield Line(_ending(attempt), attempt.finished_at)
    recorded = any(attempt.last == task.attempt for attempt in attempts)
    if task.attempt and not recorded:
        on = f" on worker {task.worker_id[:SHORT]}" if task.worker_id else ""
        yield Line(f"attempt {task.attempt} started{on}", task.started_at)
    if task.cancel_requested_at is not None:
        yield Line("cancellation was requested", task.cancel_requested_at)
    if task.state in TERMINAL:
        yield Line(_end(task, recorded=recorded), task.finished_at)
    if task.key_freed_at is not None:
        freed = "its idempotency key was freed for another task; it cannot run again"
        yield Line(freed, task.key_freed_at)
    if task.erased_at is not None:
        yield Line(
            "payload, result, error, progress and attempts were erased; it cannot run again",
            task.erased_at,
        )


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


def _present(task: Task, situation: Situation) -> Iterator[str]:
    if task.state in TERMINAL:
        return
    if task.state is State.SCHEDULED:
        yield f"is due at {task.run_at:%Y-%m-%d %H:%M:%S} UTC; a reaper then delivers it"
        if _code(task.error) == "unknown_type":
            unknown = f"no worker that took it has a handler for {task.type}"
            yield f"{unknown}: start one that has (the task is then due immediately), or cancel it"
        elif _is_encoded_otherwise(task.error):
            other = "no worker that took it can decode its payload"
            yield f"{other}: start a worker with the codec and the key (the task is then due immediately), or cancel it"
        elif _code(task.error) == "other_version":
            other = f"it was submitted for another version of {task.type} than its workers have"
            yield f"{other}: start a worker with that version (the task is then due immediately), or cancel it"
    elif task.state is State.PENDING:
        yield _waits(task, situation)
    else:
        yield _runs(task, situation)
    if situation.paused:
        yield f"queue {task.queue} is paused: `leaseq queues resume {task.queue}`"
    if not situation.workers:
        yield f"no worker serves queue {task.queue}: start one"


def _waits(task: Task, situation: Situation) -> str:
    if situation.lanes is None or situation.holders is None:
        return (
            "waits for a worker; Redis does not answer, so the location of its delivery is unknown"
        )
    if situation.lanes:
        lanes = " and ".join(situation.lanes)
        return f"waits for a worker: its delivery is in the {lanes} lane of queue {task.queue}"
    if situation.holders:
        return (
            f"was taken by {_worker(situation.holders[0], situation)}, which has not claimed it yet"
        )
    if situation.backlog_since:
        since = f"{situation.backlog_since:%Y-%m-%d %H:%M:%S} UTC"
        full = f"its lane of queue {task.queue} is full, and other tasks wait before it, the first since {since}"
        return f"waits in the ledger: {full}; a reaper delivers it in order (check that one runs)"
    return "waits for a worker, but dispatch has no delivery of it: a reaper delivers it within seconds (check that one runs)"


def _runs(task: Task, situation: Situation) -> str:
    worker = _worker(task.worker_id or "", situation)
    if situation.holders is not None and task.worker_id not in situation.holders:
        return f"runs on {worker}, but is missing in its processing list: the worker or a reaper restores it"
    return f"runs on {worker}"


def _worker(worker_id: str, situation: Situation) -> str:
    record = next((worker for worker in situation.workers if worker.worker_id == worker_id), None)
    at = (
        f" ({record.host}, supervisor {record.pid})" if record else " (closed, or of another queue)"
    )
    return f"worker {worker_id[:SHORT]}{at}"


def _seconds(start: datetime, end: datetime) -> str:
    return f"{(end - start).total_seconds():.3f} s"


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


__all__ = ["Line", "Situation", "error_line", "summary_line", "task_history"]
