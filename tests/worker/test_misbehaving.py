"""Misbehaving handlers come to one ending and free their slot."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from leaseq import Context, Fail, Leaseq, Retry
from leaseq.config import Config
from leaseq.model import Outcome, State, Task
from leaseq.observability.telemetry import recorded
from support.client import Client
from support.worker import until, working

ONCE = {"max_attempts": 1}


class Speechless(Exception):
    """An exception whose own text fails."""

    def __str__(self) -> str:
        raise RuntimeError("no text for you")


class Panic(BaseException):
    """Exceptions of extensions in other languages: no `Exception`."""


def misbehaving() -> tuple[Leaseq, list[str]]:
    """Handlers that raise unusual exceptions; the list shows which were started."""
    app, started = Leaseq(), []

    @app.task
    async def raises(ctx: Context, what: str) -> None:
        started.append(ctx.task_id)
        match what:
            case "cancelled":
                raise asyncio.CancelledError
            case "cancelled inside":
                inner = asyncio.create_task(asyncio.sleep(60))
                inner.cancel()
                await inner
            case "cancels itself":
                mine = asyncio.current_task()
                assert mine is not None
                asyncio.get_running_loop().call_soon(mine.cancel)
                async with ctx.transaction():
                    await asyncio.sleep(60)
            case "speechless":
                raise Speechless
            case "panic":
                raise Panic("a panic elsewhere")
            case "group":
                raise BaseExceptionGroup("several", [Panic("one"), ValueError("two")])
            case "retry in words":
                raise Retry(delay=timedelta(seconds=1))  # type: ignore[arg-type]

    @app.task
    def stops_iterating(ctx: Context) -> None:
        started.append(ctx.task_id)
        next(iter(()))

    return app, started


def code_of(task: Task) -> str:
    assert task.error is not None
    return str(msgspec.json.decode(task.error)["code"])


@pytest.mark.parametrize(
    "what",
    [
        "cancelled",
        "cancelled inside",
        "cancels itself",
        "speechless",
        "panic",
        "group",
        "retry in words",
    ],
)
async def test_exception_of_a_handler_is_its_error(
    config: Config, client: Client, what: str
) -> None:
    app, started = misbehaving()
    with recorded() as events:
        async with working(config, app):
            task = await client.ended(await client.submit("raises", what=what, options=ONCE))
    assert (task.state, code_of(task)) == (State.FAILED, "error")
    assert started == [task.task_id], "one attempt is one run"
    assert [
        event.fields for event in events if event.name in ("loop.failed", "delivery.stray")
    ] == []


async def test_a_thread_may_raise_stop_iteration(config: Config, client: Client) -> None:
    app, _ = misbehaving()
    async with working(config, app, concurrency=1) as worker:
        first, second = [await client.submit("stops_iterating", options=ONCE) for _ in range(2)]
        task = await client.ended(first)
        assert (task.state, code_of(task)) == (State.FAILED, "error")
        assert (await client.ended(second)).state is State.FAILED, "the one slot came back"
        await until(lambda: worker.running == 0)


async def stubborn(release: asyncio.Event) -> None:
    """Shrugs off every cancellation until it is let go."""
    while not release.is_set():
        try:
            await release.wait()
        except asyncio.CancelledError:
            continue


async def test_a_handler_that_swallows_its_time_out_is_ended_without_it(
    config: Config, client: Client
) -> None:
    """As with a thread that overruns: the attempt ends, the slot stays occupied as long as the
    handler runs."""
    app, release = Leaseq(), asyncio.Event()

    @app.task
    async def stays() -> None:
        await stubborn(release)

    @app.task
    async def quick() -> str:
        return "done"

    with recorded() as events:
        async with working(config, app, concurrency=1) as worker:
            task = await client.ended(
                await client.submit("stays", options=ONCE | {"timeout_seconds": 0.2})
            )
            assert (task.state, code_of(task)) == (State.FAILED, "timeout")
            await until(lambda: worker.running == 0)
            assert [
                event.fields["task_id"] for event in events if event.name == "handler.overran"
            ] == [task.task_id]
            waiting = await client.submit("quick")
            await client.engine.pusher.aclose()
            assert (await client.find(waiting)).state is State.PENDING, "its slot is not free yet"
            release.set()
            assert (await client.ended(waiting)).state is State.SUCCESS


async def test_a_handler_that_swallows_a_drain_is_left_behind(
    config: Config, client: Client
) -> None:
    app, release, started = Leaseq(), asyncio.Event(), asyncio.Event()

    @app.task
    async def stays() -> None:
        started.set()
        await stubborn(release)

    async with working(config, app) as worker:
        task_id = await client.submit("stays")
        await started.wait()
        hurry = asyncio.Event()
        async with asyncio.timeout(30):
            await worker.drain(0.0, hurry=hurry)
        task = await client.find(task_id)
        assert (task.state, task.retry_count) == (State.PENDING, 0)
        release.set()


async def test_an_error_that_an_interruption_was_turned_into_costs_nothing(
    config: Config, client: Client
) -> None:
    """Libraries turn a cancellation into an exception of their own; the drain is to blame, not the
    handler."""
    app, started = Leaseq(), asyncio.Event()

    @app.task
    async def wraps() -> None:
        started.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError as error:
            raise RuntimeError("the connection broke") from error

    async with working(config, app) as worker:
        task_id = await client.submit("wraps")
        await started.wait()
        await worker.drain(0.0, hurry=asyncio.Event())
        task = await client.find(task_id)
        assert (task.state, task.retry_count) == (State.PENDING, 0)
        assert [a.outcome for a in await client.attempts(task_id)] == [Outcome.RELEASED]


@pytest.mark.parametrize(
    "raw", [b"not json", b'"\xff"', b"[" * 200_000 + b"]" * 200_000], ids=["text", "bytes", "deep"]
)
async def test_a_result_that_postgres_refuses_does_not_hurt_its_neighbours(
    config: Config, client: Client, raw: bytes
) -> None:
    """All endings of a moment go into one statement."""
    app, gate = Leaseq(), asyncio.Event()

    @app.task
    async def together(bad: bool) -> Any:
        await gate.wait()
        return msgspec.Raw(raw) if bad else 1

    with recorded() as events:
        async with working(config, app):
            bad = await client.submit("together", bad=True)
            good = await client.submit_many("together", 3, bad=False)
            await until(lambda: len([e for e in events if e.name == "attempt.started"]) == 4)
            gate.set()
            tasks = await client.all_ended([bad, *good])
    assert [task.state for task in tasks] == [State.FAILED, *[State.SUCCESS] * 3]
    assert tasks[0].attempt == 1
    assert code_of(tasks[0]) == "result_invalid"
    assert len([e for e in events if e.name == "attempt.started"]) == 4, "nothing ran twice"


async def test_results_of_a_megabyte_each_are_written_in_batches(
    config: Config, client: Client
) -> None:
    app, gate = Leaseq(), asyncio.Event()
    large = "x" * 1_000_000

    @app.task
    async def produce() -> str:
        await gate.wait()
        return large

    with recorded() as events:
        async with working(config, app, concurrency=40):
            ids = await client.submit_many("produce", 40)
            await until(lambda: len([e for e in events if e.name == "attempt.started"]) == 40)
            gate.set()
            tasks = await client.all_ended(ids)
    assert {task.state for task in tasks} == {State.SUCCESS}
    assert not [e for e in events if e.name == "ledger.unreachable"]


async def test_an_endless_thread_holds_its_slot_and_nothing_else(
    config: Config, client: Client
) -> None:
    app, release = Leaseq(), threading.Event()

    @app.task
    def stays() -> None:
        release.wait()

    @app.task
    async def quick() -> str:
        return "done"

    async with working(config, app, concurrency=2) as worker:
        task = await client.ended(
            await client.submit("stays", options=ONCE | {"timeout_seconds": 0.2})
        )
        assert code_of(task) == "timeout"
        for _ in range(5):
            assert (await client.ended(await client.submit("quick"))).state is State.SUCCESS
        release.set()
        await until(lambda: worker.slots.running == 0)


GROUPS: dict[str, tuple[list[BaseException], State, str]] = {
    "only fail": (
        [Fail("this cannot be"), ExceptionGroup("inner", [Fail("nor that")])],
        State.FAILED,
        "failed",
    ),
    "fail and retry": ([Fail("this cannot be"), Retry("later", delay=1)], State.FAILED, "failed"),
    "only retry": ([Retry("soon", delay=10), Retry("later", delay=3000)], State.SCHEDULED, "retry"),
    "retry and an error": (
        [Retry("later", delay=3000), ValueError("no")],
        State.SCHEDULED,
        "error",
    ),
    "fail and an error": ([Fail("this cannot be"), ValueError("no")], State.SCHEDULED, "error"),
    "an exit": ([SystemExit("bye")], State.SCHEDULED, "error"),
}


@pytest.mark.parametrize("name", GROUPS)
async def test_a_group_of_exceptions_says_what_its_parts_say(
    config: Config, client: Client, name: str
) -> None:
    errors, state, code = GROUPS[name]
    app = Leaseq()

    @app.task
    async def raises_a_group() -> None:
        raise BaseExceptionGroup("unhandled errors in a TaskGroup", errors)

    async with working(config, app):
        task_id = await client.submit("raises_a_group")
        await until(lambda: has_settled(client, task_id))
    task = await client.find(task_id)
    assert (task.state, code_of(task)) == (state, code)
    error = msgspec.json.decode(task.error or b"{}")
    assert all(
        str(leaf) in error["message"] for leaf in errors if not isinstance(leaf, BaseExceptionGroup)
    )
    if code == "retry":
        assert (task.run_at - datetime.now(UTC)).total_seconds() > 2000, (
            "the longest delay that was asked for"
        )


async def has_settled(client: Client, task_id: str) -> bool:
    task = await client.find(task_id)
    return task.attempt > 0 and task.state is not State.PROCESSING


class Mute(Retry):
    """A retry that forgets to call its base class."""

    def __init__(self) -> None:
        pass


class Suicidal(Exception):
    """An exception whose own text exits."""

    def __str__(self) -> str:
        raise SystemExit("no text for you")


@pytest.mark.parametrize(
    "error",
    [Mute(), Suicidal(), type("N" * 5000, (Exception,), {})(), ExceptionGroup("g", [Suicidal()])],
    ids=["mute", "suicidal", "long name", "group"],
)
async def test_an_exception_whose_own_code_fails_ends_its_attempt(
    config: Config, client: Client, error: Exception
) -> None:
    app = Leaseq()

    @app.task
    async def raises_it() -> None:
        raise error

    async with working(config, app):
        task = await client.ended(await client.submit("raises_it", options=ONCE))
    assert (task.state, code_of(task), task.attempt) == (State.FAILED, "error", 1)


@pytest.mark.parametrize(
    "number", [float("nan"), {"deep": [float("-inf")]}, Decimal("NaN")], ids=repr
)
async def test_a_result_that_json_does_not_have_is_refused_and_not_null(
    config: Config, client: Client, number: Any
) -> None:
    app = Leaseq()

    @app.task
    async def returns_it() -> object:
        return number

    async with working(config, app):
        task = await client.ended(await client.submit("returns_it"))
    assert (task.state, code_of(task), task.attempt) == (State.FAILED, "result_invalid", 1)
