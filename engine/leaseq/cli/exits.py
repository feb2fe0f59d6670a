"""The exit code of a command that fails, and its line.

The codes are part of the contract (docs/cli.md): scripts branch on them. The line reads "what is wrong: what to do".
"""

from __future__ import annotations

from leaseq.errors import (
    ConfigInvalid,
    DispatchForeign,
    IdempotencyInFlight,
    IdempotencyKeyReused,
    LeaseqError,
    QueueUnknown,
    ResultTimeout,
    SchemaMismatch,
    ServerUnfit,
    ServerUnreachable,
    SubmissionInvalid,
    TaskConflict,
    TaskNotFound,
)

OK = 0
FAILED = 1
USAGE = 2
NOT_FOUND = 3
UNREACHABLE = 4
REFUSED = 5
TIMED_OUT = 124

# The first class that fits decides, so what is more particular stands first.
CODES: tuple[tuple[type[LeaseqError], int], ...] = (
    (IdempotencyInFlight, REFUSED),
    (IdempotencyKeyReused, REFUSED),
    (SubmissionInvalid, USAGE),
    (ConfigInvalid, USAGE),
    (TaskNotFound, NOT_FOUND),
    (QueueUnknown, NOT_FOUND),
    (DispatchForeign, REFUSED),
    (ServerUnreachable, UNREACHABLE),
    (TaskConflict, REFUSED),
    (ServerUnfit, REFUSED),
    (SchemaMismatch, REFUSED),
    (ResultTimeout, TIMED_OUT),
)

# The remedy, for errors whose message does not name it. The first class that fits decides.
ADVICE: dict[type[LeaseqError], str] = {
    DispatchForeign: "",
    IdempotencyKeyReused: "choose another --key, or send what was sent before",
    TaskNotFound: "it was mistyped, or pruned some time after it ended",
    ServerUnreachable: "`leaseq check` looks at both servers",
    ResultTimeout: "it goes on; wait again, or look with `leaseq show`",
}


def exit_code(error: LeaseqError) -> int:
    """The exit code that stands for this error."""
    return next((code for kind, code in CODES if isinstance(error, kind)), FAILED)


def explain(error: LeaseqError) -> str:
    """The error in one line."""
    said = " ".join(str(error).split())
    advice = next((text for kind, text in ADVICE.items() if isinstance(error, kind)), "")
    return f"{said}: {advice}" if advice else said


def leaseq_error(raised: BaseException) -> LeaseqError | None:
    """The error of leaseq in what was raised, also where a group of tasks wraps it; None if there is none."""
    if isinstance(raised, LeaseqError):
        return raised
    if isinstance(raised, BaseExceptionGroup):
        return next((found for each in raised.exceptions if (found := leaseq_error(each)) is not None), None)
    return None


__all__ = [
    "FAILED",
    "NOT_FOUND",
    "OK",
    "REFUSED",
    "TIMED_OUT",
    "UNREACHABLE",
    "USAGE",
    "exit_code",
    "explain",
    "leaseq_error",
]
