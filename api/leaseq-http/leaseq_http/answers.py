"""Read the answer to a call: its value, or the error to raise.

Nothing is sent or received here.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Protocol, TypeVar

import msgspec

from leaseq_http.calls import Call
from leaseq_http.errors import (
    ForeignAnswer,
    LeaseqHTTPError,
    ProblemError,
    ResultInvalid,
    ResultTimeout,
    TaskCancelled,
    TaskErased,
    TaskFailed,
    kind_of,
)
from leaseq_http.model import Task

T = TypeVar("T")
PROBLEM_JSON = "application/problem+json"


class Page(Protocol):
    """A part of a list. None: it is the last one."""

    @property
    def next_cursor(self) -> str | None: ...


def read(call: Call[T], status: int, headers: Mapping[str, str], body: bytes) -> T:
    """The value of an answer. Raises `ProblemError` and `ForeignAnswer`. `headers` ignores case."""
    if not 200 <= status < 300:
        raise error_of(status, headers, body)
    try:
        return call.decode(headers, body)
    except msgspec.MsgspecError as error:
        raise ForeignAnswer(
            f"the answer to {call.method} {call.path} does not fit: {error}", status=status
        ) from error


def error_of(status: int, headers: Mapping[str, str], body: bytes) -> LeaseqHTTPError:
    """The error of an answer that is no success."""
    retry_after = read_retry_after(headers)
    if headers.get("content-type", "").partition(";")[0].strip() == PROBLEM_JSON:
        try:
            problem = msgspec.json.decode(body, type=dict[str, Any])
        except msgspec.MsgspecError:
            problem = {}
        if "code" in problem:
            return problem_error(problem, status=status, retry_after=retry_after)
    shown = body[:200].decode("utf-8", "replace")
    return ForeignAnswer(
        f"an answer with status {status} that is no problem of leaseq: {shown!r}",
        status=status,
        retry_after=retry_after,
    )


def problem_error(
    problem: dict[str, Any], *, status: int, retry_after: float | None = None
) -> ProblemError:
    """The error for a problem."""
    kind = kind_of(str(problem["code"]), status)
    return kind(problem, status=status, retry_after=retry_after)


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds of `Retry-After`. A date is compared with that of the answer, so that the clock of
    this machine does not matter."""
    value = headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        at, now = parsedate_to_datetime(value), parsedate_to_datetime(headers.get("date", ""))
        return max((at - now).total_seconds(), 0.0)
    except (TypeError, ValueError):
        return None


def result_of(task: Task, kind: Any, *, timeout: float) -> Any:
    """The return value of a handler as `kind`.

    Raises `TaskFailed`, `TaskCancelled`, `TaskErased`, `ResultTimeout`, and `ResultInvalid` if it does not fit or
    is not shown.
    """
    if task.state == "FAILED":
        failure = task.failure
        raise TaskFailed(
            f"task {task.task_id} failed: {failure.message if failure else 'no reason is shown'}",
            task_id=task.task_id,
            error_code=failure.code if failure else None,
            error_type=failure.type if failure else None,
        )
    if task.state == "CANCELLED":
        raise TaskCancelled(f"task {task.task_id} was cancelled")
    if task.state != "SUCCESS":
        raise ResultTimeout(f"task {task.task_id} is still {task.state} after {timeout} seconds")
    if task.erased_at is not None:
        raise TaskErased(f"the result of task {task.task_id} was erased at {task.erased_at}")
    try:
        return task.decode_result(kind)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ResultInvalid(f"the result of task {task.task_id}: {error}") from error


__all__ = [
    "PROBLEM_JSON",
    "Page",
    "error_of",
    "problem_error",
    "read",
    "read_retry_after",
    "result_of",
]
