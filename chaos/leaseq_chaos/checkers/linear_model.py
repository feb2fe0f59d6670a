"""The model of one task as a sequential object.

Nothing, until a submission creates it; then a state and an attempt that change by the transitions
of the lifecycle. Its operations: submit (none -> new; the same content -> the same task; other
content -> refused), claim (PENDING -> attempt + 1), settle (by the current attempt and its owner
only), promote, redrive, cancel, read. Invariants: a request to cancel is honoured at the next
settle, so that afterwards the task never waits again; no task is cancelled without a request to
cancel.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from leaseq.lifecycle import TRANSITIONS
from leaseq.model import State

__all__ = ["FOREVER", "Mark", "Operation", "What", "allowed", "pure", "told"]

FOREVER = 1 << 62  # nanoseconds: the end of what never came back

_VERBS = {
    (None if before is None else before.value, after.value): verb
    for before, verb, after in TRANSITIONS
}


class Mark(Struct, frozen=True, gc=False):
    """One step of the ledger. It became visible at some moment from `early` to `late`."""

    early: int
    late: int
    task: str
    state: str
    attempt: int
    worker: str | None = None
    inserts: bool = False
    by_attempt: int | None = None  # of a settle: whose, where its transaction says so
    by_worker: str | None = None


class What(StrEnum):
    """One operation of a client, or half of it: a submit or a cancel also shows the task, at that
    moment or later."""

    SUBMIT = "submit"
    REUSED = "submit with other content"
    READ = "read"
    ABSENT = "read of no task"
    CANCEL = "cancel"
    CONFLICT = "cancel of an ended task"


class Operation(Struct, frozen=True, kw_only=True):
    """Something that a client did. It took effect at some moment from `began` to `ended`; if it is
    not `sure`, perhaps never."""

    what: What
    process: str
    began: int
    ended: int = FOREVER
    sure: bool = True
    task: str | None = None
    variant: str | None = None
    state: str | None = None
    attempt: int | None = None
    after: int = -1  # the operation of this list that has to come first


def allowed(before: Mark | None, mark: Mark, *, asked: bool) -> bool:
    """Whether the ledger may take this step through its own workers and reapers only.

    Not here: the creation, and the cancelling of a task that waits. Those need a client.
    """
    if before is None or mark.inserts or mark.task != before.task:
        return False
    verb = _VERBS.get((before.state, mark.state))
    if verb == "claim":
        return mark.attempt == before.attempt + 1
    if mark.attempt != before.attempt:
        return False
    if verb == "settle":
        owner = mark.by_worker in (None, before.worker) and mark.by_attempt in (
            None,
            before.attempt,
        )
        # Success and failure beat a request to cancel; nothing else does, and without one nothing
        # ends cancelled.
        return owner and (
            mark.state in (State.SUCCESS, State.FAILED) or asked == (mark.state == State.CANCELLED)
        )
    return verb in ("promote", "redrive")


def pure(operation: Operation, now: Mark | None, *, variant: str | None) -> bool:
    """May it be done now, and never as anything but a look that changes nothing?"""
    match operation.what:
        case What.ABSENT:
            return now is None
        case What.READ:
            seen = (
                now is not None
                and operation.state == now.state
                and operation.attempt in (None, now.attempt)
            )
            return now is not None and seen and operation.task in (None, now.task)
        case What.CONFLICT:
            return now is not None and now.state in (State.SUCCESS, State.FAILED)
        case What.SUBMIT:
            return (
                operation.sure
                and now is not None
                and operation.variant == variant
                and operation.task == now.task
            )
        case What.REUSED:
            return (
                now is not None
                and operation.variant != variant
                and operation.task in (None, now.task)
            )
        case What.CANCEL:
            return False


def told(thing: Operation | Mark) -> str:
    """For a sentence."""
    if isinstance(thing, Mark):
        by = (
            f" by attempt {thing.by_attempt} of {thing.by_worker}"
            if thing.by_attempt is not None
            else ""
        )
        return f"the ledger's step to {thing.state} attempt {thing.attempt}{by}"
    seen = (
        ""
        if thing.state is None
        else f" {thing.state}" + ("" if thing.attempt is None else f" attempt {thing.attempt}")
    )
    variant = "" if thing.variant is None else f" of variant {thing.variant}"
    shown = (
        f" that was answered with task {thing.task}"
        if thing.what is What.SUBMIT and thing.task
        else seen
    )
    return f"the {thing.what.value}{variant} by {thing.process}{shown}"
