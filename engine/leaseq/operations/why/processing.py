"""Explain tasks in PROCESSING: a worker runs them, or has stopped to run them."""

from __future__ import annotations

from leaseq.model import Moment, TaskSummary, WorkerRecord
from leaseq.operations.why.answer import Verdict
from leaseq.operations.why.ended import newest
from leaseq.operations.why.facts import Facts
from leaseq.operations.why.wording import moment, moment_after, worker_name

# A recovery settles the attempts of a closed worker, and the list of an open one is compared, within
# so many seconds.
SETTLED_WITHIN_SECONDS = 5.0
LISTED_WITHIN_SECONDS = 3.0
# A silent worker is closed so soon after its lease.
CLOSED_WITHIN_SECONDS = 2.0
# A coroutine is cancelled within about a second of the request.
CANCELLED_WITHIN_SECONDS = 2.0
# An attempt that is still there so long after its time-out does not obey it.
OVERRUN_SECONDS = 5.0
# An attempt is long that has run for so many times as long as 99 of 100 of its type do.
LONG_FACTOR = 3.0
SHORTEST_LONG_SECONDS = 1.0
HELD_BACK = "because most workers are silent together, or because Redis or the reaper was away"


def explain_processing(facts: Facts, task: TaskSummary) -> Verdict:
    """A task with a current attempt."""
    worker = facts.worker
    if worker is None or worker.closed_at is not None:
        return _orphaned(facts, task, worker)
    if facts.ago(worker.last_seen) > facts.rules.lease_seconds / 2:
        return _worker_silent(facts, worker)
    if task.cancel_requested_at is not None:
        return _cancel_asked(facts, task, worker)
    if facts.dispatch is not None and worker.worker_id not in facts.dispatch.holders:
        return _unlisted(facts, worker)
    ends = _times_out(task)
    if ends is not None and facts.ago(ends) > OVERRUN_SECONDS:
        return _overrunning(task, worker, ends)
    if _is_long(facts, task):
        return Verdict(
            case="running_long",
            sentence=f"It runs on {_name(worker)}, as attempt {task.attempt}, for much longer than attempts of its type do.",
            next="its end, or its time-out",
            next_at=ends,
            since=task.started_at,
            actions=[
                "look at what its handler waits for",
                f"`leaseq cancel {task.task_id}`, if it should not go on",
            ],
            needs_person=True,
        )
    return Verdict(
        case="running",
        sentence=f"It runs on {_name(worker)}, as attempt {task.attempt}.",
        next="its end, or its time-out",
        next_at=ends,
        since=task.started_at,
        actions=[f"`leaseq cancel {task.task_id}`, if it should not go on"],
    )


def _is_long(facts: Facts, task: TaskSummary) -> bool:
    usual = facts.usual
    if usual is None or task.started_at is None:
        return False
    return facts.ago(task.started_at) > max(LONG_FACTOR * usual.p99, SHORTEST_LONG_SECONDS)


def _orphaned(facts: Facts, task: TaskSummary, worker: WorkerRecord | None) -> Verdict:
    name = _name(worker) if worker is not None else worker_name(task.worker_id or "unknown")
    gone = "is not known any more" if worker is None else "was closed"
    if not facts.reapers:
        return Verdict(
            case="orphaned",
            sentence=f"Its {name} {gone}, and no reaper runs that takes the task back.",
            next="nothing, until a reaper is started",
            since=None if worker is None else worker.closed_at,
            actions=["start a reaper: `leaseq reaper`"],
            needs_person=True,
        )
    return Verdict(
        case="orphaned",
        sentence=f"Its {name} {gone}, and the task is about to be taken back.",
        next="its attempt is settled as lost, and the task runs again",
        next_at=facts.after(SETTLED_WITHIN_SECONDS),
        since=None if worker is None else worker.closed_at,
    )


def _worker_silent(facts: Facts, worker: WorkerRecord) -> Verdict:
    since = moment(worker.last_seen)
    sentence = f"It runs on {_name(worker)}, which was last seen at {since}."
    if not facts.reapers:
        return Verdict(
            case="worker_silent",
            sentence=f"{sentence[:-1]}, and no reaper runs that would take the task back.",
            next="nothing, until the worker goes on, or a reaper is started",
            since=worker.last_seen,
            actions=["start a reaper: `leaseq reaper`", "look at the host of the worker"],
            needs_person=True,
        )
    if facts.is_reaper_held_back:
        return Verdict(
            case="reaper_held_back",
            sentence=f"{sentence[:-1]}; no reaper recovers silent workers at present, {HELD_BACK}.",
            next="the reaper looks again after a further lease",
            next_at=facts.after(facts.rules.lease_seconds),
            since=worker.last_seen,
            actions=["look at the network between the hosts, Postgres and Redis"],
            needs_person=True,
        )
    return Verdict(
        case="worker_silent",
        sentence=sentence,
        next="a reaper closes the worker, unless it goes on, and the task runs again",
        next_at=_closed_at(facts, worker),
        since=worker.last_seen,
        actions=["look at the host of the worker"],
    )


def _closed_at(facts: Facts, worker: WorkerRecord) -> Moment | None:
    """When a reaper closes a silent worker: a lease after its last heartbeat, and after the reaper
    has begun to watch it."""
    watched = min(reaper.started_at for reaper in facts.reapers)
    lapses = moment_after(max(worker.last_seen, watched), facts.rules.lease_seconds)
    if lapses is not None and facts.ago(lapses) > 0:
        return facts.after(CLOSED_WITHIN_SECONDS)
    return lapses


def _cancel_asked(facts: Facts, task: TaskSummary, worker: WorkerRecord) -> Verdict:
    asked = newest(facts, "cancel")
    by = f" by {asked.actor}" if asked is not None and asked.actor else ""
    requested = task.cancel_requested_at
    at = f" at {moment(requested)}" if requested is not None else ""
    late = requested is not None and facts.ago(requested) > CANCELLED_WITHIN_SECONDS
    return Verdict(
        case="cancel_asked",
        sentence=f"It runs on {_name(worker)}, which was asked{by}{at} to stop it.",
        next="its handler checks `ctx.stopping` and ends, or its time-out comes"
        if late
        else "its handler is stopped; a plain `def` handler goes on until it checks `ctx.stopping`",
        next_at=_times_out(task) if late else facts.after(CANCELLED_WITHIN_SECONDS),
        since=requested,
    )


def _unlisted(facts: Facts, worker: WorkerRecord) -> Verdict:
    return Verdict(
        case="unlisted",
        sentence=f"It runs on {_name(worker)}, and dispatch has lost the mark of that.",
        next="the worker or a reaper restores the mark, or takes the task back",
        next_at=facts.after(LISTED_WITHIN_SECONDS),
    )


def _overrunning(task: TaskSummary, worker: WorkerRecord, ends: Moment) -> Verdict:
    return Verdict(
        case="overrunning",
        sentence=f"It runs on {_name(worker)}, and has not ended at its time-out, {moment(ends)}.",
        next="its handler returns; its ending may wait for Postgres",
        since=task.started_at,
        actions=[
            "look at the handler: a plain `def` must check `ctx.stopping`, and a coroutine must not block",
            "look for `ledger.unreachable` in the log of the worker",
        ],
        needs_person=True,
    )


def _times_out(task: TaskSummary) -> Moment | None:
    return None if task.started_at is None else moment_after(task.started_at, task.timeout_seconds)


def _name(worker: WorkerRecord) -> str:
    return worker_name(worker.worker_id, worker.host, worker.pid)


__all__ = ["explain_processing"]
