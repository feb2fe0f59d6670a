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
        if _waited_for_a_key(error):
            return IdempotencyInFlight()
        return Locked(
            "another transaction holds a row or a table that this submission needs; nothing was recorded"
        )
    if isinstance(error, psycopg.errors.NotNullViolation):
        # submit_bound.sql finds no limit of that name
        return LimitUnknown(_unknown_limit(batch)) if error.diag.table_name == "limited" else None
    return SubmissionInvalid(f"Postgres cannot store this submission: {text_of(error)}")


def _waited_for_a_key(error: Locked | psycopg.errors.LockNotAvailable) -> bool:
    """Whether a statement waited for the transaction that has inserted one of its keys. Postgres
    then names the table of the row in the first line of its context, in any language; a statement
    that waits for the lock of a table has no such line."""
    cause = error if isinstance(error, psycopg.errors.LockNotAvailable) else error.__cause__
    context = cause.diag.context if isinstance(cause, psycopg.Error) else None
    return context is not None and "idempotency_keys" in context.split("\n", 1)[0]


def _unknown_limit(batch: Sequence[Submission]) -> str:
    names = sorted({s.limit for s in batch if s.limit is not None})
    return (
        f"there is no limit {' or '.join(names)}: declare it with app.limit(), start a worker whose app "
        "declares it, or make it with `PUT /api/limits/NAME`"
    )


__all__ = ["REFUSALS", "refusal_of"]
