"""The user's view of task types, and handles of submitted tasks.

`TypedTask` has the signature of its handler, so a type checker reports a wrong argument at the
call. `TaskHandle` knows the type of the result.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, Unpack, overload

import msgspec
from msgspec import Struct

from leaseq.config import Config
from leaseq.connections.postgres_connection import Connection
from leaseq.context import BlockingConnection, Context, running
from leaseq.errors import (
    NotOpen,
    ResultTimeout,
    SubmissionInvalid,
    TaskCancelled,
    TaskErased,
    TaskFailed,
)
from leaseq.model import State, Submission, Submitted, Task
from leaseq.openings import Openings
from leaseq.operations.engine import Engine
from leaseq.operations.submission import Request, accept
from leaseq.operations.tenant_client import TenantClient
from leaseq.operations.why.answer import Why
from leaseq.options import NO_OPTIONS, OptionFields, SubmitOptions, from_keywords
from leaseq.payloads.payload_codec import ContentCodec, require_plain
from leaseq.registry import Handler

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Client(Protocol):
    """The part of an app that a task type uses."""

    @property
    def engine(self) -> Engine: ...

    @property
    def config(self) -> Config: ...

    @property
    def tenant(self) -> str: ...

    @property
    def tenant_client(self) -> TenantClient: ...

    @property
    def openings(self) -> Openings: ...

    @property
    def codec(self) -> ContentCodec | None: ...


class TaskHandle(Struct, Generic[R], eq=False, weakref=True):
    """A submitted task: its id, and methods to follow and cancel it."""

    _client: Client
    id: str
    replayed: bool
    _returns: Any
    # its unique key named this task already; then it is `replayed`, too
    deduplicated: bool = False

    def __repr__(self) -> str:
        return f"<TaskHandle {self.id}>"

    async def find(self) -> Task:
        """The task as recorded in the ledger, with its contents decoded if the app has a codec.
        Raises `TaskNotFound` once it has been pruned."""
        task, codec = await self._client.tenant_client.find(self.id), self._client.codec
        return task if codec is None else codec.decode_task(task)

    async def state(self) -> State:
        """The current state of the task."""
        return (await self.find()).state

    async def why(self) -> Why:
        """Why the task is where it is: a sentence, the next event, and the facts behind them. Raises
        `TaskNotFound`."""
        return await self._client.engine.explain(self.id, tenant=self._client.tenant)

    async def cancel(self) -> State:
        """Cancel the task: CANCELLED if it was waiting, PROCESSING if its worker was asked to stop.
        Raises `TaskConflict`."""
        return await self._client.tenant_client.cancel(self.id)

    async def erase(self) -> None:
        """Remove payload, result, error, progress and attempts of the task, which must have ended.
        Raises `TaskConflict`."""
        await self._client.tenant_client.erase(self.id)

    async def result(self, *, timeout: float = 30.0) -> R:
        """Wait up to `timeout` seconds for the task to succeed, and return the return value of its
        handler.

        Raises `TaskFailed`, `TaskCancelled`, `TaskErased`, `CodecMismatch`, or `ResultTimeout` (the
        task continues; wait again later).
        """
        task = await self._client.tenant_client.wait(self.id, timeout=timeout)
        codec = self._client.codec
        if task.state is State.SUCCESS:
            if task.erased_at is not None:
                raise TaskErased(f"the result of task {self.id} was erased at {task.erased_at}")
            content = task.result or b"null"
            content = require_plain(content) if codec is None else codec.decode(content)
            result: R = msgspec.json.decode(content, type=self._returns)
            return result
        if task.state is State.FAILED:
            readable = task if codec is None else codec.decode_task(task)
            raise TaskFailed(f"task {self.id} failed: {_message(readable)}")
        if task.state is State.CANCELLED:
            raise TaskCancelled(f"task {self.id} was cancelled")
        raise ResultTimeout(f"task {self.id} is still {task.state} after {timeout} seconds")


class Chosen(Struct, frozen=True, kw_only=True):
    """The arguments of `TypedTask.options`: options of the task, its key, and the transaction that
    it belongs to."""

    options: SubmitOptions = NO_OPTIONS
    idempotency_key: str | None = None
    connection: Connection | BlockingConnection | None = None


class BoundTask(Struct, Generic[R_co], frozen=True, eq=False, weakref=True):
    """A checked submission for `submit_many`: task type, arguments, options. A BoundTask can be
    submitted once."""

    submission: Submission
    returns: Any

    def __repr__(self) -> str:
        return f"<BoundTask {self.submission.type}>"


class TypedTask(Generic[P, R]):
    """A task type with the signature of its handler: `submit` takes the handler's arguments.

    It can be called like the decorated function, which runs the function and records nothing.
    """

    def __init__(self, client: Client, handler: Handler, chosen: Chosen | None = None) -> None:
        self.__name__, self.__doc__ = (
            getattr(handler.function, "__name__", handler.type),
            handler.function.__doc__,
        )
        self.__wrapped__ = handler.function  # for inspect.signature and documentation tools
        self._client = client
        self._chosen = chosen or Chosen()
        self.handler = handler

    @property
    def type(self) -> str:
        return self.handler.type

    @property
    def sync(self) -> SyncTask[P, R]:
        """The same interface for code without an event loop: plain `def` handlers, Django and
        Flask, scripts."""
        return SyncTask(self._client.openings, self)

    def options(self, **chosen: Unpack[OptionFields]) -> Self:
        """The same task type with these submission options. They replace earlier ones.

        `connection` is a psycopg connection with an open transaction: the task exists if and when
        that transaction commits. In a handler, pass the transaction of `ctx.transaction()`: the
        task exists if and when this attempt succeeds.
        """
        key, connection = chosen.pop("idempotency_key", None), chosen.pop("connection", None)
        made = Chosen(options=from_keywords({**chosen}), idempotency_key=key, connection=connection)
        return type(self)(self._client, self.handler, made)

    async def submit(self, *args: P.args, **kwargs: P.kwargs) -> TaskHandle[R]:
        """Record one task. It is committed when this returns (or, with `connection`, part of that
        transaction).

        A handler may submit without opening the app. A repeated attempt submits again, so give
        `options(idempotency_key=ctx.key("step"))` or `options(connection=tx)`. Raises
        `SubmissionInvalid` and its subclasses, and `ServerUnreachable`. After the latter it is
        unknown whether the task exists. Repeating the same call with the same idempotency key is
        safe.
        """
        submission = self._accept(args, kwargs)
        if self._chosen.connection is None:
            submitted = await self._client.engine.submissions.submit(submission)
        else:
            submitted = await self._submit_within(submission, self._chosen.connection)
        return TaskHandle(
            self._client,
            submitted.task_id,
            submitted.replayed,
            self.handler.returns,
            submitted.deduplicated,
        )

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> BoundTask[R]:
        """Prepare a submission for `Leaseq.submit_many`. Raises `SubmissionInvalid` and its
        subclasses."""
        if self._chosen.connection is not None:
            raise SubmissionInvalid(
                "submit_many() cannot use options(connection=...): call .submit(...) on each task"
            )
        return BoundTask(self._accept(args, kwargs), self.handler.returns)

    async def _submit_within(
        self, submission: Submission, connection: Connection | BlockingConnection
    ) -> Submitted:
        if isinstance(connection, BlockingConnection):
            connection = await connection.lent_connection()
        return await self._client.engine.submissions.submit_within(submission, connection)

    def _accept(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Submission:
        chosen, handler = self._chosen, self.handler
        payload = handler.encode(args, kwargs)
        is_keyed = handler.defaults.limit_key is not None and chosen.options.concurrency_key is None
        is_unique = handler.defaults.unique is not None and chosen.options.unique_key is None
        # The handler's own defaults are omitted: the same submission over HTTP must have the same
        # fingerprint.
        request = Request(
            type=handler.type,
            payload=payload,
            options=chosen.options,
            idempotency_key=chosen.idempotency_key,
            codec=handler.codec,
            limit_key=handler.limit_key(args, kwargs) if is_keyed else None,
            unique_key=handler.unique_key(args, kwargs) if is_unique else None,
        )
        return accept(request, self._client.config, tenant=self._client.tenant, known=handler.known)

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the function. If it takes a context and none is given, it gets the context of the
        calling attempt."""
        handler, parameter = self.handler, self.handler.context_parameter
        if parameter is None or any(isinstance(value, Context) for value in args):
            return handler.function(*args, **kwargs)
        rest = dict(kwargs)
        context = rest.pop(parameter, None) or running.get()
        if context is None:
            raise NotOpen(
                f"{handler.type} takes a Context: call it from a handler with a context, or pass {parameter}=..."
            )
        return handler.function(**{parameter: context}, **handler.name_arguments(args, rest))


class AsyncTask(TypedTask[P, R]):
    """A task type whose handler is `async def`."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Run the handler directly, as a function. A missing context is taken from the calling
        handler."""
        coroutine: Coroutine[Any, Any, R] = self._call(args, kwargs)
        return coroutine


class BlockingTask(TypedTask[P, R]):
    """A task type whose handler is a plain `def`."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the handler directly, as a function. A missing context is taken from the calling
        handler."""
        result: R = self._call(args, kwargs)
        return result


class SyncTask(Generic[P, R]):
    """A task type for code without an event loop. The first use connects, in a separate thread, for
    the life of the process. In a plain `def` handler the worker's connections are used."""

    def __init__(self, openings: Openings, task: TypedTask[P, R]) -> None:
        self._openings = openings
        self._task = task

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> SyncTaskHandle[R]:
        """As `TypedTask.submit`. Raises `NotOpen` if an event loop runs in this thread, because the
        call would block it."""
        handle = self._openings.run(lambda: self._task.submit(*args, **kwargs))
        return SyncTaskHandle(self._openings, handle)


class SyncTaskHandle(Generic[R]):
    """A submitted task, for code without an event loop. Each method is the blocking form of that of
    `TaskHandle`."""

    def __init__(self, openings: Openings, handle: TaskHandle[R]) -> None:
        self._openings = openings
        self._handle = handle
        self.id = handle.id
        self.replayed = handle.replayed
        self.deduplicated = handle.deduplicated

    def __repr__(self) -> str:
        return f"<SyncTaskHandle {self.id}>"

    def find(self) -> Task:
        """The task as recorded in the ledger. Raises `TaskNotFound` once it has been pruned."""
        return self._openings.run(self._handle.find)

    def state(self) -> State:
        """The current state of the task."""
        return self._openings.run(self._handle.state)

    def why(self) -> Why:
        """Why the task is where it is. Raises `TaskNotFound`."""
        return self._openings.run(self._handle.why)

    def cancel(self) -> State:
        """Cancel the task: CANCELLED if it was waiting, PROCESSING if its worker was asked to stop.
        Raises `TaskConflict`."""
        return self._openings.run(self._handle.cancel)

    def erase(self) -> None:
        """Remove payload, result, error, progress and attempts of the task, which must have ended.
        Raises `TaskConflict`."""
        self._openings.run(self._handle.erase)

    def result(self, *, timeout: float = 30.0) -> R:
        """Wait up to `timeout` seconds for the task to succeed. Raises `TaskFailed`,
        `TaskCancelled`, `TaskErased`, or `ResultTimeout`."""
        return self._openings.run(lambda: self._handle.result(timeout=timeout))


class TaskDecorator(Protocol):
    """The decorator `@app.task(...)`: it keeps the signature of the handler, without its
    context."""

    # An awaitable is also a plain result, so the first two overloads overlap the last two. The
    # order resolves that correctly.
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[Concatenate[Context, P], Awaitable[R]], /
    ) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, Awaitable[R]], /) -> AsyncTask[P, R]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, function: Callable[Concatenate[Context, P], R], /) -> BlockingTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> BlockingTask[P, R]: ...


def _message(task: Task) -> str:
    if task.erased_at is not None:
        return "the reason was erased"
    error = msgspec.json.decode(task.error) if task.error else {}
    return str(error.get("message", "no reason was stored"))


__all__ = [
    "AsyncTask",
    "BlockingTask",
    "BoundTask",
    "SyncTask",
    "SyncTaskHandle",
    "TaskDecorator",
    "TaskHandle",
    "TypedTask",
]
