"""The blocking client, for code without an event loop.

This file is made from `async_client.py` by `make generated`. Change that one.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from functools import partial
from time import monotonic, sleep
from typing import Any, Self, TypeVar, Unpack, overload

import httpx

from leaseq_http import batches, calls
from leaseq_http.answers import result_of
from leaseq_http.batches import Outcome
from leaseq_http.bulk import BulkFilter, BulkOperation, BulkPreview, BulkStart
from leaseq_http.calls import TaskFilters
from leaseq_http.errors import LeaseqHTTPError
from leaseq_http.explanations import Why
from leaseq_http.failures import Failure, FailureDetail, FailureFilters
from leaseq_http.following import following_task, following_tasks
from leaseq_http.model import (
    AnyTaskEvent,
    Attempt,
    Operation,
    PausedQueue,
    Queue,
    Submitted,
    Task,
    TaskEvent,
    TaskSummary,
    TaskType,
    Worker,
)
from leaseq_http.quotas import TenantQuota
from leaseq_http.rules import Limits, Schedules
from leaseq_http.sending import Sender
from leaseq_http.settings import HELD_SECONDS, SHORT_PAUSE, Settings
from leaseq_http.statistics import Statistics
from leaseq_http.submission import Submission, SubmitOptions

T = TypeVar("T")


class Client:
    """A client for one service, which may be used by many threads at a time.

    ::

        with Client("https://leaseq.example", api_key="lq_...") as client:
            task = client.submit("charge", {"order_id": 7}, idempotency_key="charge-order-7")
            receipt = client.result(task.task_id, timeout=30, type=Receipt)

    `tenant` acts for one tenant with a key that is bound to none. `timeout` limits each request, in
    seconds. `retry_seconds` is the time for which a call is repeated while the service is away or
    overloaded; 0 sends each once. `http` is a client of httpx to send with (a proxy, certificates of
    your own), which is yours to close.

    Every method raises `Unreachable`, `ForeignAnswer`, and the subclasses of `ProblemError`.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        tenant: str | None = None,
        timeout: float = 10.0,
        retry_seconds: float = 30.0,
        http: httpx.Client | None = None,
    ) -> None:
        settings = Settings(base_url, api_key=api_key, tenant=tenant, timeout=timeout)
        self._sender = Sender(settings, retry_seconds=retry_seconds, http=http)
        self.limits = Limits(self._sender)
        self.schedules = Schedules(self._sender)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._sender.base_url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. The client cannot be used any more."""
        self._sender.close()

    def submit(
        self,
        type: str,  # noqa: A002 (the name on the wire)
        payload: Any,
        *,
        idempotency_key: str | None = None,
        **options: Unpack[SubmitOptions],
    ) -> Submitted:
        """Submit one task. It is committed in Postgres when this returns.

        `payload` is anything that msgspec encodes to JSON. Without `idempotency_key` one is made, so
        that lost answers are safe; with one that follows from the work, a program that submits twice
        gets the same task twice. Raises `SubmissionInvalid` and its subclasses. After `Unreachable`
        it is unknown whether the task exists: submit the same with `idempotency_key` of the error.
        """
        submission = Submission(type, payload, idempotency_key=idempotency_key, **options)
        return self._sender.send(calls.submit(submission))

    def submit_many(self, submissions: Iterable[Submission]) -> list[Outcome]:
        """Submit many tasks, a thousand in each request, and return an outcome for each, in order.

        An outcome is a `Submitted`, or the error of that item alone, which is not raised:
        `SubmissionInvalid`, for example. Items that the service could not take at the moment are
        sent again. Raises where nothing was recorded because a whole request failed. Calling this
        again with the same `Submission` objects is safe, because each has its key.
        """
        outcomes: list[Outcome] = []
        recorded = False
        for batch in batches.split(submissions):
            try:
                self._sender.submit_batch(batch)
            except LeaseqHTTPError as error:
                if not (recorded or batch.recorded):
                    raise
                batch.fail(error)
            recorded = recorded or batch.recorded
            outcomes += batch.outcomes
        return outcomes

    def find(self, task_id: str) -> Task:
        """Read one task. Raises `TaskNotFound`."""
        return self._sender.send(calls.show(task_id))

    def wait(self, task_id: str, *, timeout: float = 30.0) -> Task:
        """Read one task when it has ended, or as it is after `timeout` seconds. Raises
        `TaskNotFound`."""
        ends_at = monotonic() + timeout
        while True:
            begun = monotonic()
            held = min(max(ends_at - begun, 0.0), HELD_SECONDS)
            task = self._sender.send(
                calls.show(task_id, wait=held), seconds=max(ends_at - begun, 0.0)
            )
            if task.ended or monotonic() >= ends_at:
                return task
            if monotonic() - begun < held / 2:  # a service that stops answers early
                sleep(min(SHORT_PAUSE, max(ends_at - monotonic(), 0.0)))

    @overload
    def result(self, task_id: str, *, timeout: float = 30.0) -> Any: ...
    @overload
    def result(self, task_id: str, *, timeout: float = 30.0, type: type[T]) -> T: ...
    def result(self, task_id: str, *, timeout: float = 30.0, type: Any = Any) -> Any:  # noqa: A002
        """Wait up to `timeout` seconds for a task to succeed, and return the return value of its
        handler, decoded as `type`.

        Raises `TaskFailed`, `TaskCancelled`, `TaskErased`, `ResultTimeout` (the task continues; wait
        again later) and `ResultInvalid`.
        """
        task = self.wait(task_id, timeout=timeout)
        return result_of(task, type, timeout=timeout)

    def events(
        self, task_id: str, *, last_event_id: str | None = None
    ) -> Generator[TaskEvent, None, None]:
        """Follow a task: its state, each time it changes, the ends of attempts that did not succeed,
        and its progress. The iterator begins with the present state and ends with the end of the
        task.

        A stream that breaks is opened again, for up to `retry_seconds`, and continues where it was.
        With the `id` of an event as `last_event_id` it continues behind that one. The iterator holds a
        connection: close it (`contextlib.closing`) if you leave it early. Raises `TaskNotFound`.
        """
        return self._sender.follow(following_task(task_id, last_event_id=last_event_id))

    def watch(
        self,
        *,
        queue: str | None = None,
        type: str | None = None,  # noqa: A002
        last_event_id: str | None = None,
    ) -> Generator[AnyTaskEvent, None, None]:
        """Watch all tasks that change, without an end. It is a view and no record: states may be
        skipped, and `Missed` says how many changes were left out. Follow a task whose end you must
        not miss. Close the iterator as that of `events`."""
        return self._sender.follow(
            following_tasks(queue=queue, type_=type, last_event_id=last_event_id)
        )

    def attempts(self, task_id: str) -> list[Attempt]:
        """Read the attempts of a task that did not succeed, oldest first. Raises `TaskNotFound`."""
        return (self._sender.send(calls.attempts(task_id))).attempts

    def why(self, task_id: str, *, idempotency_key: str | None = None) -> Why:
        """Explain why a task is where it is, with its key also a pruned one. Raises `TaskNotFound`."""
        return self._sender.send(calls.why(task_id, idempotency_key=idempotency_key))

    def list_tasks(
        self, *, page_size: int = 50, **filters: Unpack[TaskFilters]
    ) -> Iterator[TaskSummary]:
        """Read tasks, newest first, page by page while you iterate. `page_size` is at most 200."""
        page = partial(calls.list_tasks, page_size=page_size, **filters)
        yield from self._sender.pages(page, lambda page: page.tasks)

    def cancel(self, task_id: str, *, seen: str | None = None) -> Task:
        """Cancel a task. It is CANCELLED if it waited. If it is PROCESSING, its worker was asked to
        stop it. `seen` is as in `redrive`. Raises `TaskNotFound`, and `Conflict` if it had ended."""
        return self._sender.send(calls.cancel(task_id, seen=seen))

    def redrive(
        self, task_id: str, *, seen: str | None = None, operation_id: str | None = None
    ) -> Task:
        """Put a FAILED or CANCELLED task back to SCHEDULED, due immediately; with `seen`, as in
        "FAILED/3", only if it is still so. It is repeated after a lost answer only with an
        `operation_id`, a new UUID: it is done once. Raises `TaskNotFound` and `Conflict`."""
        return self._sender.send(calls.redrive(task_id, seen=seen, operation_id=operation_id))

    def replay(self, task_id: str, **changes: Any) -> Submitted:
        """Submit a task again as a new one, with another `payload`, `idempotency_key` or options.
        Without a key it is replayed once. Raises `TaskNotFound`, `TaskConflict`, `SubmissionInvalid`."""
        return self._sender.send(calls.replay(task_id, **changes))

    def erase(self, task_id: str) -> Task:
        """Remove payload, result, error, progress and attempts of a task that has ended. The task
        stays until it is pruned. Raises `TaskNotFound`, and `TaskConflict` if it has not ended."""
        return self._sender.send(calls.erase(task_id))

    def free_key(self, task_id: str) -> Task:
        """Free the idempotency key of a FAILED or CANCELLED task, so that the next submission with
        it makes another task. Raises `TaskNotFound` and `TaskConflict`."""
        return self._sender.send(calls.free_key(task_id))

    def list_queues(self, *, page_size: int = 50) -> Iterator[Queue]:
        """Read the queues by name, with the deliveries that wait in each, page by page."""
        page = partial(calls.list_queues, page_size=page_size)
        yield from self._sender.pages(page, lambda page: page.queues)

    def pause(self, queue: str, *, reason: str | None = None) -> PausedQueue:
        """Pause a queue: no more of its tasks start. The reason is shown to others. Raises
        `QueueUnknown` if the queue is not known and very many queues are paused."""
        return self._sender.send(calls.pause(queue, reason=reason))

    def resume(self, queue: str) -> PausedQueue:
        """Resume a queue."""
        return self._sender.send(calls.resume(queue))

    def list_workers(self, *, closed: bool = False, limit: int = 50) -> list[Worker]:
        """Read the workers, newest first; with `closed`, also closed ones; `limit` is at most 200."""
        return (self._sender.send(calls.list_workers(closed=closed, limit=limit))).workers

    def list_types(self, *, page_size: int = 50) -> Iterator[TaskType]:
        """Read the registered task types by name, page by page while you iterate."""
        page = partial(calls.list_types, page_size=page_size)
        yield from self._sender.pages(page, lambda page: page.types)

    def statistics(
        self,
        window: str = "1h",
        *,
        queue: str | None = None,
        type: str | None = None,  # noqa: A002
    ) -> Statistics:
        """Read rates, failures, waits and run times of a window until now: `1h`, `6h`, `24h` or `7d`."""
        return self._sender.send(calls.statistics(window, queue=queue, type=type))

    def show_quota(self) -> TenantQuota:
        """Read the quotas of the tenant that this client submits to, and the rest of each."""
        return self._sender.send(calls.show_quota())

    def list_operations(
        self,
        *,
        action: str | None = None,
        target: str | None = None,
        key_id: str | None = None,
        page_size: int = 50,
    ) -> Iterator[Operation]:
        """Read the changes that were made, newest first, page by page while you iterate."""
        given = {"action": action, "target": target, "key_id": key_id}
        page = partial(calls.list_operations, page_size=page_size, **given)
        yield from self._sender.pages(page, lambda page: page.operations)

    def preview_operation(self, action: str, **wanted: Unpack[BulkFilter]) -> BulkPreview:
        """Count the tasks that an operation on many tasks would change. Nothing is changed. `action`
        is "cancel" or "redrive". Raises `OperationInvalid`."""
        return self._sender.send(calls.preview_operation(action, wanted))

    def start_operation(
        self,
        action: str,
        *,
        filter: BulkFilter,  # noqa: A002 (the name on the wire)
        operation_id: str,
        **options: Unpack[BulkStart],
    ) -> BulkOperation:
        """Start an operation, which goes on in the service. With `operation_id` and `as_of` of a
        preview it changes the tasks that were counted there, and starts once, however often it is
        sent. Raises `OperationInvalid` and `OperationConflict`."""
        return self._sender.send(calls.start_operation(action, filter, operation_id, options))

    def show_operation(self, operation_id: str) -> BulkOperation:
        """Read an operation on many tasks. Raises `OperationNotFound`."""
        return self._sender.send(calls.on_operation("show_operation", operation_id))

    def follow_operation(self, operation_id: str, *, every: float = 1.0) -> Iterator[BulkOperation]:
        """Read an operation now and every `every` seconds, until it is done or stopped. The last
        one tells which. Raises `OperationNotFound`."""
        while True:
            operation = self._sender.send(calls.on_operation("show_operation", operation_id))
            yield operation
            if not operation.runs:
                return
            sleep(every)

    def stop_operation(self, operation_id: str) -> BulkOperation:
        """Stop an operation: after the answer it changes no task. Raises `OperationNotFound`, and
        `OperationConflict` if it is done."""
        return self._sender.send(calls.on_operation("stop_operation", operation_id))

    def resume_operation(self, operation_id: str) -> BulkOperation:
        """Let an operation that was stopped go on. Raises `OperationNotFound` and
        `OperationConflict`."""
        return self._sender.send(calls.on_operation("resume_operation", operation_id))

    def list_failures(
        self, *, page_size: int = 50, **filters: Unpack[FailureFilters]
    ) -> Iterator[Failure]:
        """Read the causes for which attempts have failed, the last one first, page by page."""
        page = partial(calls.list_failures, page_size=page_size, **filters)
        yield from self._sender.pages(page, lambda page: page.failures)

    def show_failure(self, type_name: str, fingerprint: str) -> FailureDetail:
        """Read one cause of failures, with its messages and recent attempts. Raises `NotFound`."""
        return self._sender.send(calls.show_failure(type_name, fingerprint))

    def acknowledge(self, type_name: str, fingerprint: str) -> Failure:
        """Acknowledge a cause of failures until it occurs in a new version. Raises `NotFound`."""
        return self._sender.send(calls.acknowledge(type_name, fingerprint))


__all__ = ["Client"]
