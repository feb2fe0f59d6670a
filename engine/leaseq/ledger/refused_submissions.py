"""Tell why Postgres refused a batch of submissions."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from leaseq.errors import (
    IdempotencyInFlight,
    LeaseqError,
    LimitUnknown,
    SubmissionInvalid,
)
from leaseq.ledger.session import Locked
from leaseq.model import Submission
from leaseq.safe_text.exceptions import text_of

UNIQUE_IN_FLIGHT = "a submission with the same unique key is still being recorded by an open transaction; try again"
REFUSALS = (
    Locked,
    psycopg.errors.LockNotAvailable,
    psycopg.errors.NotNullViolation,
    psycopg.DataError,
)


def refusal_of(error: Exception, batch: Sequence[Submission]) -> LeaseqError | None:
    """The error for the callers of a batch, of which nothing was recorded. None: it is none of
    theirs."""
    if isinstance(error, Locked | psycopg.errors.LockNotAvailable):
        table = _waited_for(error)
        if "idempotency_keys" in table:
            return IdempotencyInFlight()
        if "uniques" in table or "scheduled" in table:
            return IdempotencyInFlight(UNIQUE_IN_FLIGHT)
        return Locked(
            "another transaction holds a row or a table that this submission needs; nothing was recorded"
        )
    if isinstance(error, psycopg.errors.NotNullViolation):
        # submit_bound.sql finds no limit of that name
        return LimitUnknown(_unknown_limit(batch)) if error.diag.table_name == "limited" else None
    return SubmissionInvalid(f"Postgres cannot store this submission: {text_of(error)}")


def _waited_for(error: Locked | psycopg.errors.LockNotAvailable) -> str:
    """The line in which Postgres names the table of the row that a statement waited for, in any
    language: the first line of its context. A statement that waits for the lock of a table has no
    such line."""
    cause = error if isinstance(error, psycopg.errors.LockNotAvailable) else error.__cause__
    context = cause.diag.context if isinstance(cause, psycopg.Error) else None
    return "" if context is None else context.split("\n", 1)[0]


def _unknown_limit(batch: Sequence[Submission]) -> str:
    names = sorted({s.limit for s in batch if s.limit is not None})
    return (
        f"there is no limit {' or '.join(names)}: declare it with app.limit(), start a worker whose app "
        "declares it, or make it with `PUT /api/limits/NAME`"
    )


__all__ = ["REFUSALS", "refusal_of"]
