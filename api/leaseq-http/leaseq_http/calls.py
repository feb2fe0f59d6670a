"""Build the requests of every route.

Nothing is sent or received here. Each function below makes the `Call` of one of the `ROUTES`, which
both clients send. A call that is not `repeatable` is repeated only after an error that shows that
the service did not act on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Generic, TypedDict, TypeVar, Unpack
from urllib.parse import quote

import msgspec
from msgspec import Struct

from leaseq_http.bulk import BulkFilter, BulkOperation, BulkPreview, BulkStart
from leaseq_http.explanations import Why
from leaseq_http.failures import Failure, FailureDetail, FailureFilters, FailurePage
from leaseq_http.model import (
    AttemptList,
    OperationPage,
    PausedQueue,
    QueueList,
    State,
    Submitted,
    Task,
    TaskPage,
    TypeList,
    WorkerList,
)
from leaseq_http.quotas import TenantQuota
from leaseq_http.routes import ROUTES
from leaseq_http.statistics import Statistics
from leaseq_http.submission import Submission

T = TypeVar("T")
# Between two pieces of a stream. The service sends a comment every 15 seconds.
SILENCE_SECONDS = 30.0
JSON = {"Content-Type": "application/json"}


class Call(Struct, Generic[T], frozen=True, kw_only=True):
    """One request, and the decoder of its answer, which gets the headers and the body."""

    method: str
    path: str  # with the query
    repeatable: bool
    decode: Callable[[Mapping[str, str], bytes], T]
    headers: dict[str, str] = {}
    body: bytes | None = None
    # The service may hold the answer back for that long.
    held_seconds: float = 0.0
    idempotency_key: str | None = None


class BatchOutcome(Struct, frozen=True, kw_only=True):
    """The outcome of one item of a batch, as it is sent."""

    status: int
    replayed: bool = False
    deduplicated: bool = False
    task: Submitted | None = None
    problem: dict[str, Any] | None = None


class _BatchAnswer(Struct, frozen=True):
    items: list[BatchOutcome]


def submit(submission: Submission) -> Call[Submitted]:
    """Submit one task."""
    return route_call(
        "submit",
        _submitted,
        headers=JSON | {"Idempotency-Key": submission.key_header},
        body=submission.body,
        idempotency_key=submission.idempotency_key,
    )


def submit_batch(submissions: Sequence[Submission]) -> Call[list[BatchOutcome]]:
    """Submit many tasks."""
    body = b"[%b]" % b",".join(submission.item for submission in submissions)
    return route_call("submit_batch", _outcomes, headers=JSON, body=body)


def follow_task(task_id: str, *, last_event_id: str | None = None) -> Call[None]:
    """Open the stream of a task, behind an event."""
    return _stream("follow_task", last_event_id, path={"task_id": task_id})


def follow_tasks(
    *,
    queue: str | None = None,
    type: str | None = None,  # noqa: A002
    last_event_id: str | None = None,
) -> Call[None]:
    """Open the stream of all tasks, behind an event."""
    return _stream("follow_tasks", last_event_id, query={"queue": queue, "type": type})


def show(task_id: str, *, wait: float = 0.0) -> Call[Task]:
    """Read one task, when it has ended or after `wait` seconds."""
    query = {"wait": wait} if wait > 0 else {}
    return route_call(
        "show", as_struct(Task), path={"task_id": task_id}, query=query, held_seconds=wait
    )


def attempts(task_id: str) -> Call[AttemptList]:
    """Read the attempts of a task that did not succeed."""
    return route_call("attempts", as_struct(AttemptList), path={"task_id": task_id})


def why(task_id: str, *, idempotency_key: str | None = None) -> Call[Why]:
    """Explain why a task is where it is."""
    query = {"idempotency_key": idempotency_key}
    return route_call("why", as_struct(Why), path={"task_id": task_id}, query=query)


class TaskFilters(TypedDict, total=False):
    """Which tasks to list. A filter that is left out, or None, does not filter."""

    state: State | None
    queue: str | None
    type: str | None
    idempotency_key: str | None
    labels: Mapping[str, str] | None  # a task has all of them
    error: str | None  # FAILED tasks whose last failure has this fingerprint


def list_tasks(
    *, page_size: int = 50, cursor: str | None = None, **filters: Unpack[TaskFilters]
) -> Call[TaskPage]:
    """Read one page of tasks."""
    labels = filters.pop("labels", None) or {}
    query = {
        **filters,
        "label": [f"{name}={value}" for name, value in labels.items()],
        "limit": page_size,
        "cursor": cursor,
    }
    return route_call("list_tasks", as_struct(TaskPage), query=query)


def cancel(task_id: str, *, seen: str | None = None) -> Call[Task]:
    """Cancel a task."""
    return route_call("cancel", as_struct(Task), path={"task_id": task_id}, **json_body(seen=seen))


def redrive(
    task_id: str, *, seen: str | None = None, operation_id: str | None = None
) -> Call[Task]:
    """Put a task back to SCHEDULED. With the id of an operation the request may be repeated."""
    body = json_body(seen=seen, operation_id=operation_id)
    call = route_call("redrive", as_struct(Task), path={"task_id": task_id}, **body)
    return msgspec.structs.replace(call, repeatable=operation_id is not None)


def replay(task_id: str, **changes: Any) -> Call[Submitted]:
    """Submit a task again as a new one."""
    key = changes.get("idempotency_key")
    return route_call(
        "replay", _submitted, path={"task_id": task_id}, idempotency_key=key, **json_body(**changes)
    )


def erase(task_id: str) -> Call[Task]:
    """Erase the content of a task."""
    return route_call("erase", as_struct(Task), path={"task_id": task_id})


def free_key(task_id: str) -> Call[Task]:
    """Free the key of a task."""
    return route_call("free_key", as_struct(Task), path={"task_id": task_id})


def list_failures(
    *, page_size: int = 50, cursor: str | None = None, **filters: Unpack[FailureFilters]
) -> Call[FailurePage]:
    """Read one page of failures."""
    query = {**filters, "limit": page_size, "cursor": cursor}
    return route_call("list_failures", as_struct(FailurePage), query=query)


def show_failure(type_name: str, fingerprint: str) -> Call[FailureDetail]:
    """Read one failure."""
    path = {"type_name": type_name, "fingerprint": fingerprint}
    return route_call("show_failure", as_struct(FailureDetail), path=path)


def acknowledge(type_name: str, fingerprint: str) -> Call[Failure]:
    """Acknowledge a failure."""
    path = {"type_name": type_name, "fingerprint": fingerprint}
    return route_call("acknowledge", as_struct(Failure), path=path)


def list_operations(
    *,
    action: str | None = None,
    target: str | None = None,
    key_id: str | None = None,
    page_size: int = 50,
    cursor: str | None = None,
) -> Call[OperationPage]:
    """Read one page of the changes that were made."""
    query = {
        "action": action,
        "target": target,
        "key_id": key_id,
        "limit": page_size,
        "cursor": cursor,
    }
    return route_call("list_operations", as_struct(OperationPage), query=query)


def preview_operation(action: str, wanted: BulkFilter) -> Call[BulkPreview]:
    """Count the tasks of an operation on many tasks."""
    return route_call(
        "preview_operation", as_struct(BulkPreview), **json_body(action=action, filter=wanted)
    )


def start_operation(
    action: str, wanted: BulkFilter, operation_id: str, options: BulkStart
) -> Call[BulkOperation]:
    """Start an operation on many tasks. Its id makes it safe to repeat."""
    body = json_body(action=action, filter=wanted, operation_id=operation_id, **options)
    return route_call("start_operation", as_struct(BulkOperation), **body)


def on_operation(name: str, operation_id: str) -> Call[BulkOperation]:
    """Show, stop or resume an operation on many tasks."""
    return route_call(name, as_struct(BulkOperation), path={"operation_id": operation_id})


def list_queues(*, page_size: int = 50, cursor: str | None = None) -> Call[QueueList]:
    """Read one page of the queues."""
    return route_call(
        "list_queues", as_struct(QueueList), query={"limit": page_size, "cursor": cursor}
    )


def pause(queue: str, *, reason: str | None = None) -> Call[PausedQueue]:
    """Pause a queue."""
    return route_call(
        "pause", as_struct(PausedQueue), path={"queue": queue}, **json_body(reason=reason)
    )


def resume(queue: str) -> Call[PausedQueue]:
    """Resume a queue."""
    return route_call("resume", as_struct(PausedQueue), path={"queue": queue})


def list_workers(*, closed: bool = False, limit: int = 50) -> Call[WorkerList]:
    """Read the workers."""
    return route_call(
        "list_workers", as_struct(WorkerList), query={"closed": closed, "limit": limit}
    )


def list_types(*, page_size: int = 50, cursor: str | None = None) -> Call[TypeList]:
    """Read one page of the registered task types."""
    return route_call(
        "list_types", as_struct(TypeList), query={"limit": page_size, "cursor": cursor}
    )


def statistics(window: str, *, queue: str | None, type: str | None) -> Call[Statistics]:  # noqa: A002
    """Read the statistics of a window."""
    query = {"window": window, "queue": queue, "type": type}
    return route_call("statistics", as_struct(Statistics), query=query)


def show_quota() -> Call[TenantQuota]:
    """Read the quotas of a tenant."""
    return route_call("show_quota", as_struct(TenantQuota))


def route_call(
    name: str,
    decode: Callable[[Mapping[str, str], bytes], T],
    *,
    path: Mapping[str, str] | None = None,
    query: Mapping[str, Any] | None = None,
    **more: Any,
) -> Call[T]:
    """The call of a route."""
    route = ROUTES[name]
    given = {each: value for each, value in (query or {}).items() if value is not None}
    assert given.keys() <= set(route.query), name
    target = route.path.format_map({k: _segment(k, v) for k, v in (path or {}).items()})
    if given:
        target += "?" + "&".join(_pairs(given))
    return Call(
        method=route.method,
        path=target,
        repeatable=route.repeatable,
        decode=decode,
        **more,
    )


def json_body(**members: Any) -> dict[str, Any]:
    """The body of a call, without the members that are not given. Empty: there is no body."""
    given = {name: value for name, value in members.items() if value is not None}
    return {"headers": JSON, "body": msgspec.json.encode(given)} if given else {}


def _stream(name: str, last_event_id: str | None, **more: Any) -> Call[None]:
    headers = {"Accept": "text/event-stream"}
    if last_event_id is not None:
        headers["Last-Event-ID"] = last_event_id
    return route_call(
        name, lambda _, body: None, headers=headers, held_seconds=SILENCE_SECONDS, **more
    )


def _segment(name: str, text: str) -> str:
    """One segment of a path. An empty one, or dots, would lead to another address."""
    if text in ("", ".", ".."):
        raise ValueError(f"{text!r} is no {name}")
    return quote(text, safe="")


def _pairs(query: Mapping[str, Any]) -> Iterator[str]:
    """The parameters of a query. A list is a parameter that is repeated."""
    for name, given in query.items():
        for value in given if isinstance(given, list) else [given]:
            yield f"{name}={_value(value)}"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return quote(f"{value:.3f}" if isinstance(value, float) else str(value), safe="")


@cache
def as_struct(kind: type[T]) -> Callable[[Mapping[str, str], bytes], T]:
    """The decoder of an answer with a struct."""
    decoder = msgspec.json.Decoder(kind)
    return lambda _, body: decoder.decode(body)


def _outcomes(_: Mapping[str, str], body: bytes) -> list[BatchOutcome]:
    return msgspec.json.decode(body, type=_BatchAnswer).items


def _submitted(headers: Mapping[str, str], body: bytes) -> Submitted:
    submitted = msgspec.json.decode(body, type=Submitted)
    replayed = headers.get("idempotent-replayed") == "true"
    return msgspec.structs.replace(submitted, replayed=replayed)


__all__ = [
    "JSON",
    "BatchOutcome",
    "Call",
    "TaskFilters",
    "acknowledge",
    "as_struct",
    "attempts",
    "cancel",
    "erase",
    "follow_task",
    "follow_tasks",
    "free_key",
    "json_body",
    "list_failures",
    "list_operations",
    "list_queues",
    "list_tasks",
    "list_workers",
    "on_operation",
    "pause",
    "preview_operation",
    "redrive",
    "replay",
    "resume",
    "route_call",
    "show",
    "show_failure",
    "start_operation",
    "statistics",
    "submit",
    "submit_batch",
    "why",
]
