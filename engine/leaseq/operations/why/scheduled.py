"""Explain tasks in SCHEDULED, which wait for a time or for a reaper."""

from __future__ import annotations

from leaseq.dispatch.backlog import WINDOWED
from leaseq.errors import CodecMismatch
from leaseq.ledger.task_facts import Line
from leaseq.limits import fair_queue
from leaseq.model import TaskSummary
from leaseq.operations.why.answer import Verdict
from leaseq.operations.why.ended import newest
from leaseq.operations.why.facts import Facts
from leaseq.operations.why.pending import dispatch_away, row_locked
from leaseq.operations.why.wording import because, code_of, count, fields_of, moment

# A due task that is not promoted for so long is not waiting for the next pass of a reaper.
PROMOTED_WITHIN_SECONDS = 1.0


def explain_scheduled(facts: Facts, task: TaskSummary) -> Verdict:
    """A task that is not ready yet."""
    if facts.line is not None and facts.reapers and not facts.lockers:
        return _in_line(facts.line, task)
    if facts.ago(task.run_at) >= 0:
        return _due(facts, task)
    if code_of(task.error) in ("unknown_type", "other_version") and task.hand_back_count:
        return _handed_back(task)
    if task.attempt or task.retry_count:
        return _backing_off(task)
    return Verdict(
        case="delayed",
        sentence=f"It was submitted for later, and is due at {moment(task.run_at)}.",
        next="a reaper makes it PENDING",
        next_at=task.run_at,
        since=task.created_at,
        actions=[_cancel(task)],
    )


def _in_line(line: Line, task: TaskSummary) -> Verdict:
    """A task that waits for a permit of its limit, and for nothing else."""
    if (queue := fair_queue(line.limit)) is not None:
        return _in_turn(queue, line, task)
    named = f"limit {line.limit}" + (f" (key {line.key})" if line.key else "")
    behind = f", behind {count(line.ahead, 'task', 'tasks')} of the same key" if line.ahead else ""
    is_full = line.concurrency is not None and line.admitted >= line.concurrency
    is_key_full = line.key_concurrency is not None and line.key_admitted >= line.key_concurrency
    if is_full or is_key_full:
        whose = "with this key " if is_key_full else ""
        most = line.key_concurrency if is_key_full else line.concurrency
        return Verdict(
            case="limit_reached",
            sentence=f"It waits for a permit of {named}{behind}: all {most} {whose}are given.",
            next="it is admitted when tasks with a permit have ended and its turn comes",
            since=task.run_at,
            actions=[f"raise the limit: `leaseq limits set {line.limit}`", _cancel(task)],
        )
    if (wait := max(line.start_in or 0.0, line.key_start_in or 0.0)) > 0:
        whose = "its key in " if (line.key_start_in or 0.0) == wait else ""
        return Verdict(
            case="rate_reached",
            sentence=f"It waits for the rate of {whose}{named}{behind}: the next start is in about "
            f"{wait:.1f} s.",
            next="it is admitted when the rate allows a start and its turn comes",
            since=task.run_at,
            actions=[f"raise the rate: `leaseq limits set {line.limit}`", _cancel(task)],
        )
    return Verdict(
        case="limit_next",
        sentence=f"It waits for a permit of {named}{behind}, and one is free.",
        next="a reaper admits it when its turn comes",
        since=task.run_at,
    )


def _in_turn(queue: str, line: Line, task: TaskSummary) -> Verdict:
    """A task that waits for the turn of its tenant in a fair queue."""
    behind = f", behind {count(line.ahead, 'task', 'tasks')} of this tenant" if line.ahead else ""
    return Verdict(
        case="fair_turn",
        sentence=f"It waits in the line of tenant {task.tenant}{behind}: queue {queue} is fair, so each "
        f"tenant has its turn, and tenants have {line.admitted} tasks that may run, {line.key_admitted} "
        "of them this one.",
        next="it is admitted when tasks of the queue have ended and its turn comes",
        since=task.run_at,
        actions=["start more workers, or wait", _cancel(task)],
    )


def _handed_back(task: TaskSummary) -> Verdict:
    if code_of(task.error) == "unknown_type":
        cause, needed = f"no worker that took it has a handler for {task.type}", "that has one"
    elif fields_of(task.error).get("type") == CodecMismatch.__name__:
        cause = "no worker that took it can decode its payload"
        needed = "with the codec and the key"
    else:
        cause = f"it was submitted for another version of {task.type} than its workers have"
        needed = "with that version"
    return Verdict(
        case="handed_back",
        sentence=f"It was handed back, because {cause}.",
        next=f"it is tried again; it is due immediately when a worker {needed} starts",
        next_at=task.run_at,
        since=task.created_at,
        actions=[f"start a worker {needed}", _cancel(task)],
        needs_person=True,
    )


def _backing_off(task: TaskSummary) -> Verdict:
    code = code_of(task.error)
    actions = [_cancel(task)]
    if code == "lost":
        losses = count(task.loss_count, "worker", "workers")
        cause = f"{losses} that ran it were lost; the next attempt waits longer each time"
        actions.insert(0, "look at the hosts, and at the memory that it takes")
    elif task.hand_back_count:
        cause = f"attempt {task.attempt} was handed back{because(task.error)}"
    else:
        cause = f"attempt {task.attempt} did not succeed{because(task.error)}"
    return Verdict(
        case="backing_off",
        sentence=f"It waits for its next attempt until {moment(task.run_at)}: {cause}.",
        next="a reaper makes it PENDING",
        next_at=task.run_at,
        actions=actions,
    )


def _due(facts: Facts, task: TaskSummary) -> Verdict:
    if not facts.reapers:
        return Verdict(
            case="due_no_reaper",
            sentence="It is due, and no reaper runs.",
            next="nothing, until a reaper is started",
            since=task.run_at,
            actions=["start a reaper: `leaseq reaper`"],
            needs_person=True,
        )
    if facts.dispatch is None and facts.dispatch_error is not None:
        return dispatch_away(task, facts, since=task.run_at)
    if facts.lockers:
        return row_locked(facts)
    if facts.is_reaper_failing:
        return Verdict(
            case="due_failing",
            sentence="It is due, and every reaper reports that it cannot promote tasks.",
            next="a reaper makes it PENDING when its passes succeed again",
            since=task.run_at,
            actions=["look for `loop.failed` in the log of a reaper"],
            needs_person=True,
        )
    if _lane_is_full(facts):
        return Verdict(
            case="due_lane_full",
            sentence=f"It is due, and lane {facts.lane} of queue {task.queue} has no room.",
            next="a reaper makes it PENDING when workers have taken tasks from the lane",
            since=task.run_at,
            actions=["start more workers, or wait"],
        )
    return _taken_soon(facts, task)


def _lane_is_full(facts: Facts) -> bool:
    dispatch = facts.dispatch
    if dispatch is None or facts.lane not in WINDOWED:
        return False
    length = dispatch.lengths.get(facts.lane, 0)
    return facts.lane in dispatch.backlogs or (dispatch.window > 0 and length >= dispatch.window)


def _taken_soon(facts: Facts, task: TaskSummary) -> Verdict:
    redriven = newest(facts, "redrive")
    sentence = "It is due, and a reaper is about to take it."
    if redriven is not None:
        by = f" by {redriven.actor}" if redriven.actor else ""
        sentence = f"It was redriven{by}, and a reaper is about to take it."
    return Verdict(
        case="due",
        sentence=sentence,
        next="a reaper makes it PENDING",
        next_at=facts.after(PROMOTED_WITHIN_SECONDS),
        since=task.run_at,
    )


def _cancel(task: TaskSummary) -> str:
    return f"`leaseq cancel {task.task_id}`, if it should not run"


__all__ = ["explain_scheduled"]
