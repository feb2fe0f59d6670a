"""The app: task types, and the connections of a Python program to both stores.

`Leaseq` holds the handlers and, inside `async with app:`, the connections. Importing an app opens
no connection, so a worker, an API and a test can import the same module. In a worker the app is
already open.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, Concatenate, Literal, ParamSpec, Self, TypeVar, Unpack, overload

from leaseq.app_schedules import (
    AppSchedules,
    DeclaredFields,
    ScheduleDecorator,
    Seconds,
    by_cron,
    by_interval,
)
from leaseq.codec import is_task_id
from leaseq.config import Config
from leaseq.context import Context
from leaseq.embedded import embedded_servers
from leaseq.errors import TaskNotFound
from leaseq.ledger.roles import prepare_embedded
from leaseq.limits import LimitOptions, QueueRule, bounds_of
from leaseq.model import DEFAULT_TENANT
from leaseq.openings import Openings
from leaseq.operations.declarations import declare
from leaseq.operations.engine import Engine
from leaseq.operations.open_engine import open_engine
from leaseq.operations.tenant_client import TenantClient
from leaseq.payloads.payload_codec import ContentCodec, PayloadCodec
from leaseq.registry import HandlerOptions, Registry, describe
from leaseq.schedules.timing import Timing
from leaseq.task import AsyncTask, BlockingTask, BoundTask, TaskDecorator, TaskHandle, TypedTask

P = ParamSpec("P")
R = TypeVar("R")


class Leaseq:
    """An app: task types and, while it is open, connections to both stores.

    `config` defaults to the environment (LEASEQ_*), read when the app is opened. With a `codec` the
    payloads, results, progress and errors of its tasks are encoded before they leave the app.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        tenant: str = DEFAULT_TENANT,
        codec: PayloadCodec | None = None,
    ) -> None:
        self.codec = None if codec is None else ContentCodec(codec)
        self.registry = Registry(self.codec)
        self.tenant = tenant
        self.openings = Openings(self._connect)
        self.schedules = AppSchedules(self)
        self._config = config

    # An awaitable is also a plain result, so the first two overloads overlap the last two. The
    # order resolves that correctly.
    @overload
    def task(  # type: ignore[overload-overlap]
        self, function: Callable[Concatenate[Context, P], Awaitable[R]], /
    ) -> AsyncTask[P, R]: ...
    @overload
    def task(self, function: Callable[P, Awaitable[R]], /) -> AsyncTask[P, R]: ...  # type: ignore[overload-overlap]
    @overload
    def task(self, function: Callable[Concatenate[Context, P], R], /) -> BlockingTask[P, R]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> BlockingTask[P, R]: ...
    @overload
    def task(self, **options: Unpack[HandlerOptions]) -> TaskDecorator: ...
    def task(  # type: ignore[misc]  # mypy compares overloads without the keys of a TypedDict
        self, function: Callable[..., Any] | None = None, /, **options: Unpack[HandlerOptions]
    ) -> Any:
        """Make a function the handler of a task type: `@app.task` or `@app.task(queue=...,
        max_attempts=..., timeout=...)`.

        The function may be `async def` or plain `def` (then it runs in a thread). A parameter
        annotated `Context` gets the context; the others are the fields of the payload. `timeout` is
        in seconds, for one attempt. `retention` is the time for which an ended task is kept, in seconds
        or as a timedelta; by default that of the configuration. `redact` has JSON pointers, such as
        `/card/number` or `/customers/*/email`, to values that the dashboard masks.
        `limit` is the name of a limit, and
        `key` the parameter, or a function of the parameters, that is the key of a task there.
        `unique_key` is a template such as `"sync:{account}"`, or a function of the parameters, and
        with `unique`, `debounce` or `throttle` says when one task is enough (docs/unique.md).

        Call `submit` on the result to submit a task (`await charge.submit(order_id=1)`). The result
        can also be called: `await charge(order_id=1)` runs the function directly and records
        nothing.
        """

        def register(function: Callable[..., Any]) -> TypedTask[..., Any]:
            handler = describe(function, **options)
            handler = self.registry.add(handler)
            return AsyncTask(self, handler) if handler.is_async else BlockingTask(self, handler)

        return register if function is None else register(function)

    def cron(
        self, expression: str, *, tz: str = "UTC", **fields: Unpack[DeclaredFields]
    ) -> ScheduleDecorator:
        """Submit a task at each time of a cron expression in a time zone: `@app.cron("0 6 * * *",
        tz="Europe/Zurich")` above `@app.task(...)`, or alone.

        Raises `ScheduleInvalid` for an expression that cannot be read or never fires, and for an
        unknown zone. `docs/schedules.md` has the policies (`catch_up`, `max_catch_up`, `overlap`,
        `jitter` in seconds, `start`, `end`).
        """
        return self._scheduled(by_cron(expression, tz, fields), fields)

    def every(self, interval: Seconds, **fields: Unpack[DeclaredFields]) -> ScheduleDecorator:
        """Submit a task each `interval`, in seconds or as a timedelta: `@app.every(30)`. Raises
        `ScheduleInvalid`."""
        return self._scheduled(by_interval(interval, fields), fields)

    def _scheduled(self, timing: Timing, fields: DeclaredFields) -> ScheduleDecorator:
        def declare(decorated: Any) -> Any:
            task = decorated if isinstance(decorated, TypedTask) else self.task(decorated)
            self.schedules.add(task, timing, fields)
            return task

        return declare

    def limit(self, name: str, **options: Unpack[LimitOptions]) -> None:
        """Declare how many tasks with this limit may run at the same time in the whole fleet, and how
        many with one key: `app.limit("stripe", concurrency=50, key_concurrency=3)`.

        `rate="100/1s", burst=20`: at most 120 start in any second, and `key_rate`, `key_burst` say the
        same for each key. `order="strict"`, with `key_concurrency=1`: the tasks of a key run one after
        the other, and a task that waits for a retry stays the first. `weights={"acme": 3}`: three tasks
        of this key have a turn together.

        It is recorded when this app is opened, or starts in a worker. A change that was made over
        HTTP stays until the declaration changes. Raises `LimitInvalid`.
        """
        self.registry.declare(bounds_of(name, options))

    def queue(self, name: str, *, limit: str | None = None, fair: bool = False) -> None:
        """Declare a queue whose tasks take a limit, `app.queue("sync", limit="warehouse")`, or one in
        which tenants have turns, `app.queue("shared", fair=True)`. With neither it is plain.

        It is recorded when this app is opened, or starts in a worker. A change that was made over
        HTTP stays until the declaration changes. A task type with a limit of its own keeps that.
        Raises `LimitInvalid`.
        """
        self.registry.declare_queue(QueueRule(queue=name, limit=limit, fair=fair))

    @overload
    async def submit_many(self, tasks: Iterable[BoundTask[R]]) -> list[TaskHandle[R]]: ...
    @overload
    async def submit_many(
        self, tasks: Iterable[BoundTask[R]], *, return_exceptions: Literal[True]
    ) -> list[TaskHandle[R] | BaseException]: ...
    async def submit_many(
        self, tasks: Iterable[BoundTask[R]], *, return_exceptions: bool = False
    ) -> list[Any]:
        """Record many tasks, 500 in a transaction: `await app.submit_many(charge.bind(order.id) for
        order in orders)`.

        Each task is independent, as if it had been submitted alone. Handles come in the same order.
        If some are refused (`IdempotencyKeyReused`, `IdempotencyInFlight`), the first refusal is
        raised. With `return_exceptions` each refusal takes the place of its handle. The other tasks
        are recorded in both cases. After `ServerUnreachable` it is unknown which exist.
        """
        bound = list(tasks)
        answers = await self.engine.submissions.submit_many([task.submission for task in bound])
        if not return_exceptions:
            for answer in answers:
                if isinstance(answer, BaseException):
                    raise answer
        return [
            answer
            if isinstance(answer, BaseException)
            else TaskHandle(
                self, answer.task_id, answer.replayed, task.returns, answer.deduplicated
            )
            for task, answer in zip(bound, answers, strict=True)
        ]

    async def find(self, task_id: str) -> TaskHandle[Any]:
        """Return a handle for a task that was submitted earlier or elsewhere. Raises
        `TaskNotFound`.

        `result()` decodes the result as the handler's annotation says, if this app has the handler.
        """
        if not is_task_id(task_id):
            raise TaskNotFound(f"{task_id!r} is not a task id")
        task = await self.tenant_client.find(task_id)
        handler = self.registry.handlers.get(task.type)
        return TaskHandle(self, task.task_id, False, Any if handler is None else handler.returns)

    @property
    def config(self) -> Config:
        """The configuration; read from the environment if none was given."""
        if self._config is None:
            self._config = Config.from_env()
        return self._config

    @property
    def engine(self) -> Engine:
        """The open engine. Raises `NotOpen` outside `async with app:` (and in a handler, outside
        its worker's event loop)."""
        return self.openings.engine

    @property
    def tenant_client(self) -> TenantClient:
        """The open engine, bound to the tenant of this app. Raises `NotOpen`, as `engine`."""
        return self.engine.for_tenant(self.tenant)

    async def __aenter__(self) -> Self:
        """Connect, and start the embedded servers if no URL is given. Openings may be nested and
        concurrent."""
        await self.openings.enter()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.openings.leave()

    def lend(self, engine: Engine) -> AbstractContextManager[None]:
        """Let handlers on this event loop, and in its threads, use the worker's own connections."""
        return self.openings.lend(engine)

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[Engine]:
        # Starting a server takes a second or two, so it must not run on the event loop.
        servers = embedded_servers(self.config)
        config = await asyncio.to_thread(servers.__enter__)
        try:
            ready = await prepare_embedded(config) if self.config.postgres_url is None else config
            async with (
                open_engine(ready, name="leaseq client") as engine,
                engine.flushing_statistics("program"),
            ):
                await declare(engine, self.registry)
                yield engine
        finally:
            if config is self.config:
                servers.__exit__(None, None, None)  # nothing was started
            else:
                await _in_a_thread(servers.__exit__)


async def _in_a_thread(leave: Callable[[None, None, None], object]) -> None:
    """Stop servers in a thread, or directly if the interpreter is ending and starts no more
    threads."""
    try:
        stopping = asyncio.get_running_loop().run_in_executor(None, leave, None, None, None)
    except RuntimeError:
        leave(None, None, None)
    else:
        await stopping


__all__ = ["Leaseq"]
