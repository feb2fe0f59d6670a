"""The exit code and the error line of a command that fails.

The codes are part of the contract (docs/cli.md), because scripts branch on them. The line has the
form "problem: fix".
"""

from __future__ import annotations

import errno
import traceback
from pathlib import Path

import click

from leaseq.errors import (
    AccessInvalid,
    ApiKeyNotFound,
    ConfigInvalid,
    DispatchForeign,
    FeatureNeedsUpgrade,
    IdempotencyInFlight,
    IdempotencyKeyReused,
    LeaseqError,
    LimitInUse,
    LimitInvalid,
    LimitNotFound,
    OperationConflict,
    OperationInvalid,
    OperationNotFound,
    QueueUnknown,
    ReasonInvalid,
    ResultTimeout,
    SchemaMismatch,
    ServerUnfit,
    ServerUnreachable,
    SubmissionInvalid,
    TaskConflict,
    TaskNotFound,
    TenantNotFound,
    UniqueConflict,
)
from leaseq.safe_text.printable import printable, printable_lines

OK = 0
FAILED = 1
USAGE = 2
NOT_FOUND = 3
UNREACHABLE = 4
REFUSED = 5
TIMED_OUT = 124
INTERRUPTED = 130

# The error numbers of an output that cannot be written.
OUTPUT_LOST = (errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EBADF, errno.EFBIG, errno.EDQUOT)

# The first class that matches decides, so subclasses come first.
CODES: tuple[tuple[type[LeaseqError], int], ...] = (
    (IdempotencyInFlight, REFUSED),
    (IdempotencyKeyReused, REFUSED),
    (FeatureNeedsUpgrade, REFUSED),
    (UniqueConflict, REFUSED),
    (SubmissionInvalid, USAGE),
    (LimitInvalid, USAGE),
    (LimitNotFound, NOT_FOUND),
    (LimitInUse, REFUSED),
    (ConfigInvalid, USAGE),
    (AccessInvalid, USAGE),
    (ReasonInvalid, USAGE),
    (OperationInvalid, USAGE),
    (OperationNotFound, NOT_FOUND),
    (OperationConflict, REFUSED),
    (ApiKeyNotFound, NOT_FOUND),
    (TenantNotFound, NOT_FOUND),
    (TaskNotFound, NOT_FOUND),
    (QueueUnknown, NOT_FOUND),
    (DispatchForeign, REFUSED),
    (ServerUnreachable, UNREACHABLE),
    (TaskConflict, REFUSED),
    (ServerUnfit, REFUSED),
    (SchemaMismatch, REFUSED),
    (ResultTimeout, TIMED_OUT),
)

# The fix, for errors whose message does not name it. The first class that matches decides.
ADVICE: dict[type[LeaseqError], str] = {
    DispatchForeign: "",
    IdempotencyKeyReused: "choose another --key, or send the same submission as before",
    TaskNotFound: "check the id; a task is deleted after its retention period",
    ServerUnreachable: "run `leaseq check`, which tests both servers",
    ResultTimeout: "the task is still running: wait again, or run `leaseq show`",
}


def exit_code(error: LeaseqError) -> int:
    """The exit code for this error."""
    return next((code for kind, code in CODES if isinstance(error, kind)), FAILED)


def explain(error: LeaseqError) -> str:
    """The error in one line."""
    text = _one_line(error)
    advice = next((text for kind, text in ADVICE.items() if isinstance(error, kind)), "")
    return f"{text}: {advice}" if advice else text


def leaseq_error(raised: BaseException) -> LeaseqError | None:
    """The leaseq error in an exception, also if a task group wraps it; None if there is none."""
    if isinstance(raised, LeaseqError):
        return raised
    if isinstance(raised, BaseExceptionGroup):
        return next(
            (found for each in raised.exceptions if (found := leaseq_error(each)) is not None), None
        )
    return None


def failure(raised: BaseException) -> tuple[str, int]:
    """The line and the exit code for any exception of a command. An empty line is not written."""
    error = leaseq_error(raised)
    if error is not None:
        return explain(error), exit_code(error)
    if isinstance(raised, KeyboardInterrupt | click.Abort):
        return "", INTERRUPTED
    if isinstance(raised, click.UsageError):
        path = raised.ctx.command_path if raised.ctx is not None else "leaseq"
        return (
            f"{_one_line(raised.format_message()).rstrip('.')}: see `{path} --help`",
            raised.exit_code,
        )
    if isinstance(raised, click.ClickException):
        return _one_line(raised.format_message()), raised.exit_code
    if isinstance(raised, OSError) and raised.errno in OUTPUT_LOST and raised.filename is None:
        gone = raised.errno == errno.EPIPE  # `leaseq list | head` is not an error
        return (
            ""
            if gone
            else f"the answer cannot be written: {raised.strerror}: free disk space, or write to another file",
            FAILED,
        )
    if isinstance(raised, FileNotFoundError) and raised.filename is None:  # from os.getcwd
        return "the current directory does not exist any more: change to one that exists", USAGE
    return _unforeseen(raised), FAILED


def _unforeseen(raised: BaseException) -> str:
    """A bug in leaseq. The message may quote anything, even a URL with its password, so it is
    omitted."""
    frames = traceback.extract_tb(raised.__traceback__)
    where = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"unexpected {type(raised).__name__}{where}: please report it with the output of LEASEQ_LOG_LEVEL=debug"


def trace(raised: BaseException) -> str:
    """Where an exception was raised, without the text of any exception."""
    lines = "".join(traceback.format_tb(raised.__traceback__)).rstrip().split("\n")
    return "\n".join(f"  {line}" for part in lines for line in printable_lines(part))


def _one_line(text: object) -> str:
    return printable(" ".join(str(text).split()))


__all__ = [
    "FAILED",
    "INTERRUPTED",
    "NOT_FOUND",
    "OK",
    "REFUSED",
    "TIMED_OUT",
    "UNREACHABLE",
    "USAGE",
    "exit_code",
    "explain",
    "failure",
    "leaseq_error",
    "trace",
]
