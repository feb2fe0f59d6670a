"""Explain tasks that have ended, and tasks that were pruned."""

from __future__ import annotations

from leaseq.ledger.operation_log import OperationOutcome, OperationRecord
from leaseq.model import Moment, State, TaskSummary
from leaseq.operations.why.answer import Verdict
from leaseq.operations.why.facts import Facts
from leaseq.operations.why.wording import because, code_of, count, moment, moment_after, span

# Codes of errors that no retry can change, and what to change instead.
FINAL = {
    "payload_invalid": "its payload does not fit its handler",
    "result_invalid": "its result cannot be stored",
    "transaction_ended": "its handler has ended the transaction of its attempt",
    "failed": "its handler gave up",
}


# The next event of a task with nothing left to do.
PRUNED = "a reaper prunes it"


def explain_pruned(facts: Facts) -> Verdict:
    """A task that has no row any more."""
    remembered = facts.remembered
    if remembered is None:
        sentence = "It is not in the ledger: it never was, or it was pruned."
        return Verdict(case="pruned", sentence=sentence, next="nothing")
    ended = f"it ended in {remembered.final_state}" if remembered.final_state else "it had ended"
    return Verdict(
        case="pruned",
        sentence=f"It was pruned, and its idempotency key remembers that {ended}.",
        next="its key is deleted, and may then stand for another task",
        next_at=remembered.expires_at,
    )


def explain_ended(facts: Facts, task: TaskSummary) -> Verdict:
    """A task in a terminal state."""
    if task.state is State.SUCCESS:
        return _succeeded(facts, task)
    if task.state is State.FAILED:
        return _failed(facts, task)
    if code_of(task.error) == "expired":
        return _expired(facts, task)
    return _cancelled(facts, task)


def _succeeded(facts: Facts, task: TaskSummary) -> Verdict:
    took = ""
    if task.started_at is not None and task.finished_at is not None:
        seconds = (task.finished_at - task.started_at).total_seconds()
        took = f" after {span(seconds)} of work"
    attempts = f"with attempt {task.attempt}" if task.attempt > 1 else "with its first attempt"
    return Verdict(
        case="succeeded",
        sentence=f"It succeeded {attempts},{took}." if took else f"It succeeded {attempts}.",
        next=PRUNED,
        next_at=_pruned_at(facts, task),
        since=task.finished_at,
    )


def _failed(facts: Facts, task: TaskSummary) -> Verdict:
    code = code_of(task.error)
    if code == "crashed":
        times = count(task.crash_count, "isolation child", "isolation children")
        cause = f"it ended {times} that ran nothing else"
        look = "look for a native crash or a lack of memory"
    elif code in FINAL:
        cause = f"{FINAL[code]}, and no retry can change that{because(task.error)}"
        look = "fix the client or the handler"
    else:
        tried = count(task.attempt, "attempt", "attempts")
        cause = f"{tried} did not succeed{because(task.error)}"
        look = "fix the handler (`leaseq show` has the tracebacks)"
    if (gone := _runs_no_more(task)) is not None:
        return Verdict(
            case="failed",
            sentence=f"It was given up, and cannot run again because {gone}: {cause}.",
            next=PRUNED,
            next_at=_pruned_at(facts, task),
            since=task.finished_at,
        )
    return Verdict(
        case="failed",
        sentence=f"It was given up: {cause}.",
        next="nothing, until it is redriven",
        since=task.finished_at,
        actions=[f"{look}, then `leaseq redrive {task.task_id}`"],
        needs_person=True,
    )


def _expired(facts: Facts, task: TaskSummary) -> Verdict:
    limit = f" before {moment(task.expires_at)}" if task.expires_at is not None else " in time"
    sentence = f"It expired: no attempt began{limit}."
    if (gone := _runs_no_more(task)) is not None:
        sentence = f"{sentence[:-1]}, and cannot run again because {gone}."
        return Verdict(
            case="expired",
            sentence=sentence,
            next=PRUNED,
            next_at=_pruned_at(facts, task),
            since=task.finished_at,
        )
    return Verdict(
        case="expired",
        sentence=sentence,
        next="nothing, until it is redriven",
        since=task.finished_at,
        actions=[
            f"`leaseq redrive {task.task_id}`, if it should still run",
            "start more workers, or submit with a later `expires_at`",
        ],
        needs_person=True,
    )


def _cancelled(facts: Facts, task: TaskSummary) -> Verdict:
    asked = newest(facts, "cancel")
    by = f" by {asked.actor}" if asked is not None and asked.actor else ""
    during = " while it ran" if task.started_at is not None and task.attempt else " before it ran"
    return Verdict(
        case="cancelled",
        sentence=f"It was cancelled{by}{during}.",
        next=PRUNED,
        next_at=_pruned_at(facts, task),
        since=task.finished_at,
        actions=[]
        if _runs_no_more(task)
        else [f"`leaseq redrive {task.task_id}`, if it should run after all"],
    )


def newest(facts: Facts, action: str) -> OperationRecord | None:
    """The newest change of this kind that was made."""
    return next(
        (
            each
            for each in facts.operations
            if each.action == action and each.outcome is OperationOutcome.DONE
        ),
        None,
    )


def _runs_no_more(task: TaskSummary) -> str | None:
    if task.erased_at is not None:
        return f"its contents were erased at {moment(task.erased_at)}"
    if task.key_freed_at is not None:
        return f"its idempotency key was freed at {moment(task.key_freed_at)}"
    return None


def _pruned_at(facts: Facts, task: TaskSummary) -> Moment | None:
    if task.finished_at is None:
        return None
    return moment_after(task.finished_at, facts.rules.retention_seconds)


__all__ = ["explain_ended", "explain_pruned", "newest"]
