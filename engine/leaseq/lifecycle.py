"""Which transitions may a task make, and what follows from the way an attempt ended?

`TRANSITIONS` is the truth: the diagram in docs/lifecycle.md is tested against it. `after` is the one place
that turns an outcome into a disposition; workers and reapers both ask it, the ledger only applies it.
The fence makes the decision safe: the counts that a holder was given at claim cannot change under it.
"""

from __future__ import annotations

import math

from leaseq.backoff import Backoff
from leaseq.model import Counts, Disposition, Ending, Lane, Outcome, Priority, State, TaskError

TRANSITIONS: frozenset[tuple[State | None, str, State]] = frozenset(
    {
        (None, "submit", State.PENDING),
        (None, "submit", State.SCHEDULED),
        (State.SCHEDULED, "promote", State.PENDING),
        (State.PENDING, "claim", State.PROCESSING),
        (State.PROCESSING, "settle", State.SUCCESS),
        (State.PROCESSING, "settle", State.FAILED),
        (State.PROCESSING, "settle", State.CANCELLED),
        (State.PROCESSING, "settle", State.SCHEDULED),
        (State.PROCESSING, "settle", State.PENDING),
        (State.PENDING, "cancel", State.CANCELLED),
        (State.SCHEDULED, "cancel", State.CANCELLED),
        (State.FAILED, "redrive", State.PENDING),
        (State.CANCELLED, "redrive", State.PENDING),
    }
)

LANES = {Priority.HIGH: Lane.HIGH, Priority.NORMAL: Lane.NORMAL, Priority.LOW: Lane.LOW}

# A task that was present at this many crashes runs alone from then on: the next crash, if it comes, is its own. Not at
# the first: most crashes are nobody's fault, and isolation costs the start of a process.
SUSPECT_CRASHES = 2

# A loss costs the task nothing and delays nothing: the worker was lost, not the task. Beyond this many losses the task itself
# may be the reason (it takes its whole host along, so that no process is left to bear witness), and the next run waits longer
# each time, up to the cap.
PROMPT_LOSSES = 10
LOSS_DELAY_CAP_SECONDS = 300.0

# The longest that a task may be put off, as for a submission.
MAX_DELAY_SECONDS = 366 * 86_400.0


def is_suspect(counts: Counts) -> bool:
    """Must this task run alone, because it may be what kills its workers?"""
    return counts.crash_count + counts.loss_count >= SUSPECT_CRASHES


def lane_of(priority: Priority, *, crash_count: int, loss_count: int) -> Lane:
    """The ready list that a delivery of such a task belongs in."""
    if crash_count + loss_count >= SUSPECT_CRASHES:
        return Lane.SUSPECT
    return LANES[priority]


def after(ending: Ending, counts: Counts, *, backoff: Backoff, max_crashes: int) -> Disposition:
    """Decide what happens to the task next."""
    match ending.outcome:
        case Outcome.SUCCEEDED:
            return Disposition(State.SUCCESS)
        case Outcome.CANCELLED:
            return Disposition(State.CANCELLED, error=ending.error)
        case Outcome.RELEASED:
            return _released(ending)
        case Outcome.LOST:
            return _lost(ending, counts, max_crashes)
        case Outcome.ERRORED | Outcome.TIMED_OUT:
            return _errored(ending, counts, backoff)


def _released(ending: Ending) -> Disposition:
    delay = _bounded(ending.delay or 0.0)
    return Disposition(State.SCHEDULED, delay=delay) if delay else Disposition(State.PENDING)


def _lost(ending: Ending, counts: Counts, max_crashes: int) -> Disposition:
    if not ending.alone:
        excess = counts.loss_count - PROMPT_LOSSES
        if excess <= 0:
            return Disposition(State.PENDING, losses=1)
        delay = min(2.0 ** min(excess, 64), LOSS_DELAY_CAP_SECONDS)
        return Disposition(State.SCHEDULED, delay=delay, losses=1, error=ending.error)
    crashes = counts.crash_count + 1
    if crashes < max_crashes:
        return Disposition(State.PENDING, crashes=1)
    error = TaskError("crashed", f"the worker died {crashes} times while it ran this task alone")
    return Disposition(State.FAILED, crashes=1, error=error)


def _errored(ending: Ending, counts: Counts, backoff: Backoff) -> Disposition:
    if ending.permanent or counts.retry_count + 1 >= counts.max_attempts:
        return Disposition(State.FAILED, error=ending.error)
    delay = backoff.delay(counts.retry_count) if ending.delay is None else ending.delay
    # A delay of 0 still goes through SCHEDULED: one way back for every retry.
    return Disposition(State.SCHEDULED, delay=_bounded(delay), retries=1, error=ending.error)


def _bounded(delay: float) -> float:
    """Handlers ask for any float, and one that Postgres cannot add to a time would fail a whole batch of settlements."""
    return 0.0 if math.isnan(delay) else min(max(delay, 0.0), MAX_DELAY_SECONDS)


__all__ = ["MAX_DELAY_SECONDS", "PROMPT_LOSSES", "SUSPECT_CRASHES", "TRANSITIONS", "after", "is_suspect", "lane_of"]
