"""The state machine: allowed transitions, and the next step after an attempt ends.

`TRANSITIONS` is the authority: the diagram in docs/lifecycle.md is tested against it. Only `after`
turns an outcome into a disposition. Workers and reapers call it, and the ledger applies the result.
The fence makes the decision safe: the counts that a holder received at claim cannot change under
it.
"""

from __future__ import annotations

import math
from typing import Final

from msgspec import structs

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
        (State.FAILED, "redrive", State.SCHEDULED),
        (State.CANCELLED, "redrive", State.SCHEDULED),
    }
)

LANES = {Priority.HIGH: Lane.HIGH, Priority.NORMAL: Lane.NORMAL, Priority.LOW: Lane.LOW}

# A task with this many losses and crashes runs alone from then on, so that the next crash is
# certainly its own. Not after the first, because most crashes are not a task's fault, and isolation
# costs a process start.
SUSPECT_CRASHES = 2

# A loss costs the task nothing and delays nothing: the worker was lost, not the task. Beyond this
# many losses the task itself may be the reason (it may kill its whole host, so that no supervisor
# remains to observe it), and each further run is delayed longer, up to the cap.
PROMPT_LOSSES = 10
LOSS_DELAY_CAP_SECONDS = 300.0

# Default delays of hand-backs that the task itself causes.
HAND_BACKS = Backoff(1.0, 300.0)

# How often in a row a task may lose its connection before that counts as an error of its handler:
# while Postgres answers the worker, and while the worker's other connections break as well.
FREE_BREAKS = 1
FREE_CRASHES = 3
BROKEN = {
    False: "the attempt lost its connection while Postgres answered the other connections of its worker",
    True: "the attempt lost its connection, as did others of its worker",
}
REFUSED = "Postgres did not commit the transaction of the handler"

# The longest delay of a task, as for a submission.
MAX_DELAY_SECONDS = 366 * 86_400.0

# Of every attempt that succeeded: it changes no count.
SUCCESS = Disposition(State.SUCCESS)
# Looked up once: `after` is called for each attempt, and before Python 3.12 an access to a member
# of an enum costs many times what a name of a module does.
SUCCEEDED: Final = Outcome.SUCCEEDED


def is_suspect(counts: Counts) -> bool:
    """Whether this task must run alone, because it may be the cause of its workers' crashes."""
    return counts.crash_count + counts.loss_count >= SUSPECT_CRASHES


def lane_of(priority: Priority, *, crash_count: int, loss_count: int) -> Lane:
    """The ready list for a delivery of a task with these counts."""
    if crash_count + loss_count >= SUSPECT_CRASHES:
        return Lane.SUSPECT
    return LANES[priority]


def after(
    ending: Ending,
    counts: Counts,
    *,
    backoff: Backoff,
    max_crashes: int,
    hand_backs: Backoff = HAND_BACKS,
) -> Disposition:
    """Decide the next step of the task. `hand_backs`: the delays of hand-backs that the task itself
    causes."""
    if ending.outcome is SUCCEEDED:
        return SUCCESS
    match ending.outcome:
        case Outcome.CANCELLED:
            return Disposition(State.CANCELLED, error=ending.error)
        case Outcome.RELEASED:
            return _released(ending, counts, hand_backs)
        case Outcome.LOST:
            return _lost(ending, counts, max_crashes)
        case Outcome.ERRORED | Outcome.TIMED_OUT:
            return _errored(ending, counts, backoff)


def _released(ending: Ending, counts: Counts, hand_backs: Backoff) -> Disposition:
    if not ending.self_caused:
        delay = _bounded(ending.delay or 0.0)
        return Disposition(State.SCHEDULED, delay=delay) if delay else Disposition(State.PENDING)
    count = counts.hand_back_count
    if count == 0 and ending.delay == 0.0:
        return Disposition(State.PENDING, hand_backs=1, error=ending.error)
    delay = _bounded(hand_backs.delay(count))
    return Disposition(State.SCHEDULED, delay=delay, hand_backs=count + 1, error=ending.error)


def hand_back(ending: Ending, counts: Counts, *, outage: bool, silent: bool) -> Ending:
    """Judge an attempt that lost its connection to Postgres, or whose handler reports that a store
    is away.

    `outage`: the worker's own connections found Postgres away, too. `silent`: the session ended
    without a message of Postgres. A query that crashes its backend ends its session like that,
    while the sessions beside it get a message.
    """
    assert ending.error is not None, "a handler always gives an error"
    count = counts.hand_back_count
    refused = ending.error.code == "commit_refused"
    code = "commit_refused" if refused else "server_unreachable" if outage else "connection_lost"
    what = REFUSED if refused else BROKEN[outage]
    message = f"{what} (the next attempts wait longer): {ending.error.message}"
    error = structs.replace(ending.error, code=code, message=message)
    if count < FREE_BREAKS or (outage and (count < FREE_CRASHES or not silent)):
        return Ending(Outcome.RELEASED, error=error, self_caused=True)
    message = f"{what}, {count + 1} times in a row: {ending.error.message}"
    outcome = Outcome.TIMED_OUT if ending.outcome is Outcome.TIMED_OUT else Outcome.ERRORED
    return Ending(outcome, error=structs.replace(error, message=message), self_caused=True)


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
    # The hand-back that was charged as an error leaves the count, so that the next one is charged,
    # too.
    hand_backs = 0 if counts.hand_back_count and not ending.self_caused else None
    if ending.permanent or counts.retry_count + 1 >= counts.max_attempts:
        return Disposition(State.FAILED, hand_backs=hand_backs, error=ending.error)
    delay = backoff.delay(counts.retry_count) if ending.delay is None else ending.delay
    # A delay of 0 still goes through SCHEDULED: there is one way back for every retry.
    return Disposition(
        State.SCHEDULED, delay=_bounded(delay), retries=1, hand_backs=hand_backs, error=ending.error
    )


def _bounded(delay: float) -> float:
    """Bound a delay. Handlers may ask for any float, and an invalid one would fail a whole batch of
    settlements in Postgres."""
    return 0.0 if math.isnan(delay) else min(max(delay, 0.0), MAX_DELAY_SECONDS)


__all__ = [
    "MAX_DELAY_SECONDS",
    "PROMPT_LOSSES",
    "SUCCESS",
    "SUSPECT_CRASHES",
    "TRANSITIONS",
    "after",
    "hand_back",
    "is_suspect",
    "lane_of",
]
