"""The schedules of an app: those of its code, and those that its program puts.

`@app.cron` and `@app.every` declare a schedule of a task type. Declarations are checked when the
module is imported, and recorded by each worker that starts, under the source `code:MODULE`. They
never replace a schedule that was put by a program or over HTTP, and never resume one that is
paused. A declaration that is removed from the code leaves its schedule behind: delete it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Concatenate, ParamSpec, Protocol, TypedDict, TypeVar, Unpack, overload

from msgspec import Struct, ValidationError
from msgspec.structs import replace

from leaseq.context import Context
from leaseq.errors import (
    FeatureNeedsUpgrade,
    LimitUnknown,
    PayloadInvalid,
    ScheduleConflict,
    ScheduleInvalid,
    ServerUnreachable,
    SubmissionInvalid,
)
from leaseq.loop import end
from leaseq.observability.telemetry import emit
from leaseq.operations.engine import Engine
from leaseq.operations.schedules import CODE, check_policy
from leaseq.operations.submission import Request, accept
from leaseq.registry import Handler
from leaseq.schedules.plan import CatchUp, Overlap, Policy
from leaseq.schedules.read_timing import read_timing, require_occurrence
from leaseq.schedules.schedule import Definition, Schedule, ScheduleRun
from leaseq.schedules.timing import Timing
from leaseq.task import AsyncTask, BlockingTask, BoundTask, Client, TaskHandle, TypedTask

P = ParamSpec("P")
R = TypeVar("R")

Seconds = float | timedelta
PREVIEWED = 5
# Between two tries of a worker to record a declaration that is refused for now.
AGAIN_SECONDS = 10.0
# An expression that fires at all fires again and again.
ANY_TIME = datetime(2026, 1, 1, tzinfo=UTC)


class PolicyFields(TypedDict, total=False):
    """The keywords of all schedules. `jitter` is in seconds."""

    catch_up: CatchUp
    max_catch_up: int
    overlap: Overlap
    jitter: int
    start: datetime | None
    end: datetime | None


class DeclaredFields(PolicyFields, total=False):
    """The keywords of `@app.cron` and `@app.every`. `name` is that of the schedule, by default that
    of the task type. `arguments` are those of the handler."""

    name: str
    arguments: Mapping[str, Any]


class PutFields(PolicyFields, total=False):
    """The keywords of `app.schedules.put`: `cron` with its zone `tz`, or `every`, in seconds."""

    cron: str | None
    tz: str | None
    every: Seconds | None


class Declared(Struct, frozen=True, kw_only=True):
    """A schedule that the code of an app declares."""

    name: str
    handler: Handler
    payload: bytes
    limit_key: str | None
    timing: Timing
    policy: Policy
    jitter_seconds: int


class ScheduleDecorator(Protocol):
    """The decorator `@app.cron(...)`: above `@app.task(...)`, or alone."""

    @overload
    def __call__(self, task: AsyncTask[P, R], /) -> AsyncTask[P, R]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, task: BlockingTask[P, R], /) -> BlockingTask[P, R]: ...  # type: ignore[overload-overlap]
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


class AppSchedules:
    """The schedules of one app, and those of its tenant in the ledger (`app.schedules`)."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.declared: dict[str, Declared] = {}

    def add(self, task: TypedTask[..., Any], timing: Timing, fields: DeclaredFields) -> None:
        """Declare a schedule. Raises `ScheduleInvalid`."""
        handler = task.handler
        name, arguments = fields.get("name", handler.type), fields.get("arguments", {})
        if handler.defaults.unique is not None:
            raise ScheduleInvalid(
                f"schedule {name}: tasks of type {handler.type} have a unique key, which a schedule does "
                "not know: use a type without one, and overlap"
            )
        declared = Declared(
            name=name,
            handler=handler,
            payload=_payload(name, handler, arguments),
            limit_key=_limit_key(handler, arguments),
            timing=timing,
            policy=_policy(fields),
            jitter_seconds=fields.get("jitter", 0),
        )
        check_policy(declared.name, declared.policy, declared.jitter_seconds)
        if timing.cron is not None and timing.end_at is None:
            require_occurrence(timing, ANY_TIME)
        if declared.name in self.declared:
            raise ScheduleInvalid(
                f"two schedules are named {declared.name!r}; give one of them a name=", field="name"
            )
        self.declared[declared.name] = declared

    async def declare(self) -> list[Declared]:
        """Record the schedules that the code declares. Each worker does so when it starts.

        One that the ledger refuses (its end has passed) is reported, and does not keep a worker from
        its tasks. Returns those that it may accept later.
        """
        return await self._record(list(self.declared.values()), {})

    @asynccontextmanager
    async def declaring(self) -> AsyncIterator[None]:
        """Record them now; while the block lasts, try those again that are refused only for now: a
        process of an older version is alive, or their limit does not exist."""
        told: dict[str, str] = {}
        left = await self._record(list(self.declared.values()), told)

        async def again() -> None:
            nonlocal left
            while left:
                await asyncio.sleep(AGAIN_SECONDS)
                with suppress(ServerUnreachable):
                    left = await self._record(left, told)

        trying = asyncio.create_task(again())
        try:
            yield
        finally:
            await end(trying)

    async def _record(self, wanted: list[Declared], told: dict[str, str]) -> list[Declared]:
        """Record some of them. Returns those to try again. A reason is reported once, by name in
        `told`."""
        engine, left = self._client.engine, []
        for declared in wanted:
            try:
                await engine.schedules.put(self._define(declared, engine))
            except (ScheduleInvalid, SubmissionInvalid, ScheduleConflict) as error:
                if isinstance(error, FeatureNeedsUpgrade | LimitUnknown | ScheduleConflict):
                    left.append(declared)
                if told.get(declared.name) != error.code:
                    told[declared.name] = error.code
                    emit(
                        "schedule.failed",
                        tenant=self._client.tenant,
                        schedule=declared.name,
                        error=str(error),
                    )
        return left

    async def put(self, name: str, task: BoundTask[Any], **fields: Unpack[PutFields]) -> Schedule:
        """Create or replace a schedule: `await app.schedules.put("invoice-acme",
        invoice.bind(customer="acme"), cron="0 6 1 * *", tz="America/New_York")`.

        Raises `ScheduleInvalid`.
        """
        timing = read_timing(
            cron=fields.get("cron"),
            every_seconds=_seconds(fields.get("every")),
            zone=fields.get("tz"),
            start_at=fields.get("start"),
            end_at=fields.get("end"),
        )
        definition = Definition(
            name=name,
            timing=timing,
            submission=task.submission,
            policy=_policy(fields),
            jitter_seconds=fields.get("jitter", 0),
        )
        return await self._client.engine.schedules.put(definition)

    async def find(self, name: str) -> Schedule:
        """Read one schedule. Raises `ScheduleNotFound`."""
        return await self._client.engine.schedules.find(self._client.tenant, name)

    async def list_schedules(self, *, after: str = "", limit: int = 100) -> list[Schedule]:
        """Read schedules by name, those behind `after`, without their payloads."""
        tenant = self._client.tenant
        return await self._client.engine.schedules.list_schedules(
            tenant=tenant, after=(tenant, after), limit=limit
        )

    async def runs(self, name: str) -> list[ScheduleRun]:
        """The last occurrences, newest first, with the states of their tasks. Raises
        `ScheduleNotFound`."""
        return await self._client.engine.schedules.runs(await self.find(name))

    async def preview(self, name: str, count: int = PREVIEWED) -> list[datetime]:
        """The next times of a schedule. Raises `ScheduleNotFound`."""
        return (await self.find(name)).preview(count)

    async def pause(self, name: str, *, by: str | None = None) -> Schedule:
        """Pause a schedule: its occurrences become no tasks. Raises `ScheduleNotFound`."""
        return await self._client.engine.schedules.pause(self._client.tenant, name, by=by)

    async def resume(self, name: str) -> Schedule:
        """Resume a schedule from now on. Raises `ScheduleNotFound`."""
        return await self._client.engine.schedules.resume(self._client.tenant, name)

    async def run_now(self, name: str, *, request: str | None = None) -> TaskHandle[Any]:
        """Submit a task of a schedule now. A `request` that comes twice returns the same task.
        Raises `ScheduleNotFound`."""
        run = await self._client.engine.schedules.run_now(
            self._client.tenant, name, request=request
        )
        return TaskHandle(self._client, run.task_id, not run.created, Any)

    async def delete(self, name: str) -> None:
        """Delete a schedule; its tasks stay. Raises `ScheduleNotFound`."""
        await self._client.engine.schedules.delete(self._client.tenant, name)

    def _define(self, declared: Declared, engine: Engine) -> Definition:
        request = Request(
            type=declared.handler.type,
            payload=declared.payload,
            codec=declared.handler.codec,
            limit_key=declared.limit_key,
        )
        config = replace(engine.config, require_idempotency_key=False)
        submission = accept(
            request, config, tenant=self._client.tenant, known=declared.handler.known
        )
        return Definition(
            name=declared.name,
            timing=declared.timing,
            submission=submission,
            policy=declared.policy,
            jitter_seconds=declared.jitter_seconds,
            source=f"{CODE}{declared.handler.function.__module__}",
        )


def _payload(name: str, handler: Handler, arguments: Mapping[str, Any]) -> bytes:
    """The arguments as a payload that the handler can read."""
    try:
        payload = handler.encode((), dict(arguments))
        # As it is before the codec of the app encodes it.
        replace(handler, codec=None).decode(payload)
    except (TypeError, PayloadInvalid, ValidationError) as error:
        raise ScheduleInvalid(
            f"the arguments of schedule {name!r} do not fit: {error}", field="arguments"
        ) from None
    return payload


def _limit_key(handler: Handler, arguments: Mapping[str, Any]) -> str | None:
    try:
        return handler.limit_key((), dict(arguments))
    except SubmissionInvalid as error:
        raise ScheduleInvalid(str(error), field="arguments") from error


def by_cron(expression: str, tz: str, fields: DeclaredFields) -> Timing:
    """The timing of `@app.cron`. Raises `ScheduleInvalid`."""
    return read_timing(
        cron=expression,
        every_seconds=None,
        zone=tz,
        start_at=fields.get("start"),
        end_at=fields.get("end"),
    )


def by_interval(every: Seconds, fields: DeclaredFields) -> Timing:
    """The timing of `@app.every`. Raises `ScheduleInvalid`."""
    return read_timing(
        cron=None,
        every_seconds=_seconds(every),
        start_at=fields.get("start"),
        end_at=fields.get("end"),
    )


def _seconds(every: Seconds | None) -> float | None:
    return every.total_seconds() if isinstance(every, timedelta) else every


def _policy(fields: PolicyFields) -> Policy:
    defaults = Policy()
    return Policy(
        catch_up=fields.get("catch_up", defaults.catch_up),
        max_catch_up=fields.get("max_catch_up", defaults.max_catch_up),
        overlap=fields.get("overlap", defaults.overlap),
    )


__all__ = [
    "AppSchedules",
    "DeclaredFields",
    "PutFields",
    "ScheduleDecorator",
    "Seconds",
    "by_cron",
    "by_interval",
]
