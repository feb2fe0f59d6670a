"""How does a Python program define tasks, submit them, and get their results?

`Leaseq` holds the handlers and, inside `async with app:`, the connections. Nothing connects at import: a worker, an API
and a test may all import the same module.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Concatenate, Literal, ParamSpec, Self, TypeVar, overload

from leaseq.config import Config
from leaseq.context import Context
from leaseq.embedded import embedded_servers
from leaseq.engine.engine import Engine, open_engine
from leaseq.errors import NotOpen
from leaseq.ledger.schema import migrate
from leaseq.registry import DEFAULT_QUEUE, Registry, describe
from leaseq.task import BoundTask, TaskDecorator, TaskHandle, TypedTask

P = ParamSpec("P")
R = TypeVar("R")


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
            handler = describe(function, name=name, queue=queue, max_attempts=max_attempts, timeout_seconds=timeout)
            self.registry.add(handler)
            return TypedTask(self, handler)

        return register if function is None else register(function)

    @overload
    async def submit_many(self, tasks: Iterable[BoundTask[R]]) -> list[TaskHandle[R]]: ...
    @overload
    async def submit_many(
        self, tasks: Iterable[BoundTask[R]], *, return_exceptions: Literal[True]
    ) -> list[TaskHandle[R] | BaseException]: ...
    async def submit_many(self, tasks: Iterable[BoundTask[R]], *, return_exceptions: bool = False) -> list[Any]:
        """Record many tasks at once, 500 in a transaction: `await app.submit_many(charge.bind(order.id) for order in orders)`.

        Each stands for itself, as if it had been submitted alone; handles come in the same order. Where some are refused
        (`IdempotencyKeyReused`, `IdempotencyInFlight`), the first refusal is raised, or with `return_exceptions` each stands in
        the place of its handle; the others are recorded all the same. With `ServerUnreachable` it is unknown which exist.
        """
        bound = list(tasks)
        answers = await self.engine.submit_many([task.submission for task in bound])
        if not return_exceptions:
            for answer in answers:
                if isinstance(answer, BaseException):
                    raise answer
        return [
            answer
            if isinstance(answer, BaseException)
            else TaskHandle(self, answer.task_id, replayed=answer.replayed, returns=task.returns)
            for task, answer in zip(bound, answers, strict=True)
        ]

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

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        stack, self._open, self._engine = self._open, None, None
        if stack is not None:
            await stack.aclose()


__all__ = ["Leaseq"]
