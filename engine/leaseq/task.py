"""What can be done with a task type, and with a task that was submitted?

`TypedTask` has the signature of its handler, so that a type checker sees a wrong argument where it is written.
`TaskHandle` knows the type of the result.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypedDict, TypeVar, Unpack, overload

import msgspec
from msgspec import Struct

from leaseq.config import Config
from leaseq.connect import Connection
from leaseq.context import Context
from leaseq.engine.engine import Engine
from leaseq.engine.submission import Request, accept
from leaseq.errors import ResultTimeout, SubmissionInvalid, TaskCancelled, TaskFailed
from leaseq.model import State, Submission, Task
from leaseq.registry import Handler

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Client(Protocol):
    """What a task type needs of its app."""

    @property
    def engine(self) -> Engine: ...

    @property
    def config(self) -> Config: ...

    @property
    def tenant(self) -> str: ...


class TaskHandle(Generic[R]):
    """A submitted task: its id, and ways to ask what became of it."""

    def __init__(self, client: Client, task_id: str, *, replayed: bool, returns: Any) -> None:
        self._client = client
        self._returns = returns
        self.id = task_id
        self.replayed = replayed

    def __repr__(self) -> str:
        return f"<TaskHandle {self.id}>"

    async def find(self) -> Task:
        """The task as the ledger has it now. Raises `TaskNotFound` once it has been pruned."""
        return await self._client.engine.find(self.id, tenant=self._client.tenant)

    async def state(self) -> State:
        """The state of the task now."""
        return (await self.find()).state

    async def cancel(self) -> State:
        """Stop the task: CANCELLED if it was waiting, PROCESSING if its worker has been asked to. Raises `TaskConflict`."""
        return await self._client.engine.cancel(self.id, tenant=self._client.tenant)

    async def result(self, *, timeout: float = 30.0) -> R:
        """Wait up to `timeout` seconds for the task to succeed, and return what its handler returned.

        Raises `TaskFailed`, `TaskCancelled`, or `ResultTimeout` (the task goes on; ask again later).
        """
        task = await self._client.engine.wait(self.id, timeout=timeout, tenant=self._client.tenant)
        if task.state is State.SUCCESS:
            result: R = msgspec.json.decode(task.result or b"null", type=self._returns)
            return result
        if task.state is State.FAILED:
            raise TaskFailed(f"task {self.id} failed: {_message(task)}")
        if task.state is State.CANCELLED:
            raise TaskCancelled(f"task {self.id} was cancelled")
        raise ResultTimeout(f"task {self.id} is still {task.state} after {timeout} seconds")


class OptionFields(TypedDict, total=False):
    """The keywords of `TypedTask.options`. Delays and time-outs are in seconds."""

    idempotency_key: str | None
    queue: str | None
    priority: str | None
    delay: float | None
    run_at: datetime | None
    expires_at: datetime | None
    max_attempts: int | None
    timeout: float | None
    connection: Connection | None


class Options(Struct, frozen=True, kw_only=True):
    """What was said of one submission; None means nothing was."""

    idempotency_key: str | None = None
    queue: str | None = None
    priority: str | None = None
    delay: float | None = None
    run_at: datetime | None = None
    expires_at: datetime | None = None
    max_attempts: int | None = None
    timeout: float | None = None
    connection: Connection | None = None


class BoundTask(Generic[R_co]):
    """A task that is to be submitted with others: its type, its arguments, its options, checked. One is good for one task."""

    def __init__(self, submission: Submission, *, returns: Any) -> None:
        self.submission = submission
        self.returns = returns

    def __repr__(self) -> str:
        return f"<BoundTask {self.submission.type}>"


class TypedTask(Generic[P, R]):
    """A task type with the signature of its handler: `submit` takes what the handler takes."""

    def __init__(self, client: Client, handler: Handler, options: Options | None = None) -> None:
        self._client = client
        self._options = options or Options()
        self.handler = handler

    @property
    def type(self) -> str:
        return self.handler.type

    def options(self, **chosen: Unpack[OptionFields]) -> TypedTask[P, R]:
        """The same task type, to be submitted with these options: a fresh set, not added to earlier ones.

        `connection` is a psycopg connection with an open transaction: the task then exists if and when that commits.
        """
        return TypedTask(self._client, self.handler, Options(**chosen))

    async def submit(self, *args: P.args, **kwargs: P.kwargs) -> TaskHandle[R]:
        """Record one task. When this returns, it is committed (or, with `connection`, part of that transaction).

        Raises `SubmissionInvalid` and its kinds, and `ServerUnreachable`: then it is unknown whether the task exists,
        and the same call with the same idempotency key is safe.
        """
        submission = self._accept(self.handler.encode(args, kwargs))
        engine = self._client.engine
        if self._options.connection is None:
            submitted = await engine.submit(submission)
        else:
            submitted = await engine.submit_within(submission, self._options.connection)
        return TaskHandle(self._client, submitted.task_id, replayed=submitted.replayed, returns=self.handler.returns)

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> BoundTask[R]:
        """What `submit` would record, for `Leaseq.submit_many`. Raises `SubmissionInvalid` and its kinds."""
        if self._options.connection is not None:
            raise SubmissionInvalid("what belongs to a transaction is submitted by itself: options(connection=...).submit(...)")
        return BoundTask(self._accept(self.handler.encode(args, kwargs)), returns=self.handler.returns)

    def _accept(self, payload: bytes) -> Submission:
        options, handler = self._options, self.handler
        # What the handler says by itself stays out: the same submission over HTTP must have the same fingerprint.
        request = Request(
            type=handler.type,
            payload=payload,
            queue=options.queue,
            priority=options.priority,
            delay_seconds=options.delay,
            run_at=options.run_at,
            expires_at=options.expires_at,
            max_attempts=options.max_attempts,
            timeout_seconds=options.timeout,
            idempotency_key=options.idempotency_key,
            tenant=self._client.tenant,
        )
        return accept(request, self._client.config, defaults=handler.defaults)


class TaskDecorator(Protocol):
    """What `@app.task(...)` is: it keeps the signature of the handler, without its context."""

    @overload
    def __call__(self, function: Callable[Concatenate[Context, P], Awaitable[R]], /) -> TypedTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, Awaitable[R]], /) -> TypedTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Context, P], R], /) -> TypedTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> TypedTask[P, R]: ...


def _message(task: Task) -> str:
    error = msgspec.json.decode(task.error) if task.error else {}
    return str(error.get("message", "no reason was stored"))


__all__ = ["BoundTask", "OptionFields", "Options", "TaskDecorator", "TaskHandle", "TypedTask"]
