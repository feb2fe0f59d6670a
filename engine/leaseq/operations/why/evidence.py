"""List the facts behind an explanation, one line each, with their sources."""

from __future__ import annotations

from collections.abc import Iterator

from leaseq.model import TERMINAL, AttemptRecord, State, TaskSummary
from leaseq.operations.why.answer import Evidence
from leaseq.operations.why.estimate import per_second
from leaseq.operations.why.facts import Facts
from leaseq.operations.why.wording import (
    SHORT,
    because,
    count,
    cut,
    listed,
    moment,
    span,
    worker_name,
)


def gather_evidence(facts: Facts) -> list[Evidence]:
    """The facts about the task, from both stores."""
    task = facts.task
    if task is None:
        return []
    found = [Evidence("ledger", text) for text in _ledger(facts, task)]
    found += [Evidence("failures", text) for text in _failures(facts)]
    if task.state in TERMINAL:
        return found
    found += [Evidence("dispatch", text) for text in _dispatch(facts, task)]
    found += [Evidence("workers", text) for text in _workers(facts)]
    found += [Evidence("services", text) for text in _services(facts)]
    found += [Evidence("statistics", text) for text in _statistics(facts, task)]
    return found


def _ledger(facts: Facts, task: TaskSummary) -> Iterator[str]:
    parts = [task.state.value, f"{task.priority.name.lower()} priority"]
    parts.append(f"attempt {task.attempt}" if task.attempt else "not started yet")
    counts = (
        (task.retry_count, "retry", f"retries of {task.max_attempts - 1}"),
        (task.crash_count, "crash", "crashes"),
        (task.loss_count, "loss of a worker", "losses of a worker"),
        (task.hand_back_count, "hand-back in a row", "hand-backs in a row"),
    )
    parts += [count(number, one, many) for number, one, many in counts if number]
    parts.append(f"submitted {moment(task.created_at)}")
    if task.expires_at is not None and task.state not in TERMINAL:
        over = " (over)" if facts.ago(task.expires_at) > 0 else ""
        parts.append(f"expires {moment(task.expires_at)}{over}")
    yield ", ".join(parts)
    if task.has_unique_key:
        yield f"has its unique key ({task.unique_hold}): further submissions with the key look at this task"
    if facts.last_attempt is not None:
        yield _attempt(facts.last_attempt)
    queue = facts.queue
    if queue is not None and queue.paused and task.state is not State.PENDING:
        yield f"queue {task.queue} is paused"
    for each in facts.operations[:3]:
        by = f" by {each.actor}" if each.actor else ""
        yield f"{each.action}{by} at {moment(each.began_at)}: {each.outcome}"
    for locker in facts.lockers[:3]:
        yield f"row locked by {cut(locker)}"


def _attempt(attempt: AttemptRecord) -> str:
    outcome = attempt.outcome.value.replace("_", " ")
    text = f"attempt {attempt.last} {outcome} on worker {attempt.worker_id[:SHORT]} at {moment(attempt.finished_at)}"
    return f"{text}{because(attempt.error)}"


def _failures(facts: Facts) -> Iterator[str]:
    failure = facts.failure
    if failure is None:
        return
    where = ""
    if failure.versions:
        one = "version" if len(failure.versions) == 1 else "versions"
        where = f", in {one} {listed(failure.versions)}"
    yield (
        f"attempts that failed like this: {failure.in_day:,} in the last 24 h,"
        f" since {moment(failure.first_seen)}{where}"
        f" (`leaseq failures show {failure.type} {failure.fingerprint}`)"
    )


def _dispatch(facts: Facts, task: TaskSummary) -> Iterator[str]:
    dispatch = facts.dispatch
    if dispatch is None:
        if facts.dispatch_error is not None:
            yield cut(facts.dispatch_error)
        return
    if dispatch.place is not None:
        place = dispatch.place
        numbers = (
            ""
            if place.before is None or place.behind is None
            else f", {place.before:,} before it, {place.behind:,} behind it"
        )
        yield f"in lane {place.lane}{numbers}"
    for worker_id in dispatch.holders[:3]:
        yield f"in the list of worker {worker_id[:SHORT]}"
    if dispatch.place is None and not dispatch.holders:
        yield "no delivery in a lane, or in the list of an open worker"
    if facts.backlog_before is not None:
        counted = facts.backlog_before
        about = "" if counted.is_all else "about "
        yield f"{about}{counted.count:,} before it in the ledger"
    if task.state is State.PROCESSING and dispatch.lease_left_seconds is not None:
        left = dispatch.lease_left_seconds
        yield f"lease of its worker: {span(left)} left" if left > 0 else "lease of its worker: over"


def _workers(facts: Facts) -> Iterator[str]:
    if facts.worker is not None:
        worker = facts.worker
        name = worker_name(worker.worker_id, worker.host, worker.pid)
        if worker.closed_at is not None:
            reason = f" ({worker.close_reason})" if worker.close_reason else ""
            yield f"{name} was closed at {moment(worker.closed_at)}{reason}"
        else:
            yield f"{name} was last seen {span(facts.ago(worker.last_seen))} ago"
    if not facts.servers:
        yield "no worker is open"
    else:
        serving, of = facts.servers[0].serving_count, facts.servers[0].open_count
        queue = facts.queue.name if facts.queue is not None else ""
        yield f"{serving} of {count(of, 'open worker', 'open workers')} serve queue {queue}"
    last = facts.last_server
    if last is not None and last.closed_at is not None:
        name = worker_name(last.worker_id, last.host, last.pid)
        yield f"{name} served it last, until {moment(last.closed_at)}"
    rate = per_second(facts.pace)
    if rate is not None and facts.pace is not None:
        yield f"{facts.pace.count:,} tasks of the queue began in the last {span(facts.pace.span)}"


def _services(facts: Facts) -> Iterator[str]:
    reapers, last = facts.reapers, facts.last_reaper
    if reapers:
        seen = min(each.silent_seconds for each in reapers)
        yield f"{count(len(reapers), 'reaper', 'reapers')}, last seen {span(seen)} ago"
    elif last is None:
        yield "no reaper has announced itself (one of an older release does not)"
    else:
        where = f" ({last.host}, pid {last.pid})" if last.host else ""
        end = "stopped" if last.ended_at is not None else "was last seen"
        when = last.last_seen if last.ended_at is None else last.ended_at
        yield f"no reaper: the last one{where} {end} at {moment(when)}"


def _statistics(facts: Facts, task: TaskSummary) -> Iterator[str]:
    usual = facts.usual
    if usual is not None and usual.count and task.started_at is not None:
        yield (
            f"it has run for {span(facts.ago(task.started_at))}; of {usual.count:,} attempts of its type"
            f" in the last day, 95 of 100 ran for at most {span(usual.p95)}, and 99 for {span(usual.p99)}"
        )


__all__ = ["gather_evidence"]
