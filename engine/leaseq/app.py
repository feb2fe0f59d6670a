"""How does a Python program define tasks, submit them, and get their results?

`Leaseq` holds the handlers and, inside `async with app:`, the connections. Nothing connects at import: a worker, an API
and a test may all import the same module.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import datetime
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, overload

import msgspec
from msgspec import Struct

from leaseq.config import Config
from leaseq.connect import Connection
from leaseq.context import Context
from leaseq.embedded import embedded_servers
from leaseq.engine.engine import Engine, open_engine
from leaseq.engine.submission import Request, accept
from leaseq.errors import NotOpen, ResultTimeout, TaskCancelled, TaskFailed
from leaseq.ledger.schema import migrate
from leaseq.model import State, Submission, Task
from leaseq.registry import DEFAULT_QUEUE, Handler, Registry, describe

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class TaskHandle(Generic[R]):
    """A submitted task: its id, and ways to ask what became of it."""

    def __init__(self, app: Leaseq, task_id: str, *, replayed: bool, returns: Any) -> None:
        self._app = app
        self._returns = returns
        self.id = task_id
        self.replayed = replayed

    def __repr__(self) -> str:
        return f"<TaskHandle {self.id}>"

    async def find(self) -> Task:
        """The task as the ledger has it now. Raises `TaskNotFound` once it has been pruned."""
        return await self._app.engine.find(self.id, tenant=self._app.tenant)

    async def state(self) -> State:
        """The state of the task now."""
        return (await self.find()).state

    async def cancel(self) -> State:
        """Stop the task: CANCELLED if it was waiting, PROCESSING if its worker has been asked to. Raises `TaskConflict`."""
        return await self._app.engine.cancel(self.id, tenant=self._app.tenant)

    async def result(self, *, timeout: float = 30.0) -> R:
        """Wait up to `timeout` seconds for the task to succeed, and return what its handler returned.

        Raises `TaskFailed`, `TaskCancelled`, or `ResultTimeout` (the task goes on; ask again later).
        """
        task = await self._app.engine.wait(self.id, timeout=timeout, tenant=self._app.tenant)
        if task.state is State.SUCCESS:
            result: R = msgspec.json.decode(task.result or b"null", type=self._returns)
            return result
        if task.state is State.FAILED:
            raise TaskFailed(f"task {self.id} failed: {_message(task)}")
        if task.state is State.CANCELLED:
            raise TaskCancelled(f"task {self.id} was cancelled")
        raise ResultTimeout(f"task {self.id} is still {task.state} after {timeout} seconds")


class Options(Struct, frozen=True, kw_only=True):
    """What may be said of one submission. Delays and time-outs are in seconds."""

    idempotency_key: str | None = None
    queue: str | None = None
    priority: str | None = None
    delay: float | None = None
    run_at: datetime | None = None
    expires_at: datetime | None = None
    max_attempts: int | None = None
    timeout: float | None = None
    connection: Connection | None = None


class TypedTask(Generic[P, R]):
    """A task type with the signature of its handler: `submit` takes what the handler takes."""

    def __init__(self, app: Leaseq, handler: Handler, options: Options | None = None) -> None:
        self._app = app
        self._options = options or Options()
        self.handler = handler

    @property
    def type(self) -> str:
        return self.handler.type

    def options(
        self,
        *,
        idempotency_key: str | None = None,
        queue: str | None = None,
        priority: str | None = None,
        delay: float | None = None,
        run_at: datetime | None = None,
        expires_at: datetime | None = None,
        max_attempts: int | None = None,
        timeout: float | None = None,
        connection: Connection | None = None,
    ) -> TypedTask[P, R]:
        """The same task type, to be submitted with these options.

        `connection` is a psycopg connection with an open transaction: the task then exists if and when that commits.
        """
        chosen = Options(
            idempotency_key=idempotency_key,
            queue=queue,
            priority=priority,
            delay=delay,
            run_at=run_at,
            expires_at=expires_at,
            max_attempts=max_attempts,
            timeout=timeout,
            connection=connection,
        )
        return TypedTask(self._app, self.handler, chosen)

    async def submit(self, *args: P.args, **kwargs: P.kwargs) -> TaskHandle[R]:
        """Record one task. When this returns, it is committed (or, with `connection`, part of that transaction).

        Raises `SubmissionInvalid` and its kinds, and `ServerUnreachable`: then it is unknown whether the task exists,
        and the same call with the same idempotency key is safe.
        """
        submission = self._accept(self.handler.encode(args, kwargs))
        engine = self._app.engine
        if self._options.connection is None:
            submitted = await engine.submit(submission)
        else:
            submitted = await engine.submit_within(submission, self._options.connection)
        return TaskHandle(self._app, submitted.task_id, replayed=submitted.replayed, returns=self.handler.returns)

    def _accept(self, payload: bytes) -> Submission:
        options, handler = self._options, self.handler
        request = Request(
            type=handler.type,
            payload=payload,
            queue=options.queue,
            priority=options.priority,
            delay_seconds=options.delay,
            run_at=options.run_at,
            expires_at=options.expires_at,
            max_attempts=options.max_attempts or handler.max_attempts,
            timeout_seconds=options.timeout or handler.timeout_seconds,
            idempotency_key=options.idempotency_key,
            tenant=self._app.tenant,
        )
        return accept(request, self._app.config, queue=handler.queue)


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


class Leaseq:
    """An app: task types and, while it is open, the way to the stores.

    `config` defaults to the environment (LEASEQ_*), read when the app is opened.
    """

    def __init__(self, config: Config | None = None, *, tenant: str = "default") -> None:
        self.registry = Registry()
        self.tenant = tenant
        self._config = config
        self._engine: Engine | None = None
        self._open: AsyncExitStack | None = None

    @overload
    def task(self, function: Callable[Concatenate[Context, P], Awaitable[R]], /) -> TypedTask[P, R]: ...
    @overload
    def task(self, function: Callable[P, Awaitable[R]], /) -> TypedTask[P, R]: ...
    @overload
    def task(self, function: Callable[Concatenate[Context, P], R], /) -> TypedTask[P, R]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> TypedTask[P, R]: ...
    @overload
    def task(
        self,
        *,
        name: str | None = None,
        queue: str = DEFAULT_QUEUE,
        max_attempts: int | None = None,
        timeout: float | None = None,
    ) -> TaskDecorator: ...
    def task(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        name: str | None = None,
        queue: str = DEFAULT_QUEUE,
        max_attempts: int | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Make a function the handler of a task type: `@app.task` or `@app.task(queue=..., max_attempts=..., timeout=...)`.

        The function may be `async def` or plain `def` (then it runs in a thread). A parameter annotated `Context` gets
        the context; the others are the fields of the payload. `timeout` is in seconds, for one attempt.
        """

        def register(function: Callable[..., Any]) -> TypedTask[..., Any]:
            handler = describe(
                function, name=name, queue=queue, max_attempts=max_attempts, timeout_seconds=timeout
            )
            self.registry.add(handler)
            return TypedTask(self, handler)

        return register if function is None else register(function)

    @property
    def config(self) -> Config:
        """The configuration; read from the environment if none was given."""
        if self._config is None:
            self._config = Config.from_env()
        return self._config

    @property
    def engine(self) -> Engine:
        """The open engine. Raises `NotOpen` outside `async with app:`."""
        if self._engine is None:
            raise NotOpen
        return self._engine

    async def __aenter__(self) -> Self:
        """Connect, with the embedded servers where no URL is given."""
        stack = AsyncExitStack()
        try:
            # Starting a server takes a second or two: not on the event loop.
            servers = embedded_servers(self.config)
            config = await asyncio.to_thread(servers.__enter__)
            stack.push_async_callback(asyncio.to_thread, servers.__exit__, None, None, None)
            if config is not self.config:
                await migrate(config.postgres_url or "")
            self._engine = await stack.enter_async_context(open_engine(config, name="leaseq client"))
        except BaseException:
            await stack.aclose()
            raise
        self._open = stack
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stack, self._open, self._engine = self._open, None, None
        if stack is not None:
            await stack.aclose()


def _message(task: Task) -> str:
    error = msgspec.json.decode(task.error) if task.error else {}
    return str(error.get("message", "no reason was stored"))


__all__ = ["Leaseq", "Options", "TaskDecorator", "TaskHandle", "TypedTask"]
