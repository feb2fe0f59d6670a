"""Random misbehaviour of handlers affects no neighbour.

A program is a few steps and an ending. `PROGRAMS` of them run at a time in one worker, between
tasks that behave. The number of handlers is LEASEQ_TEST_HANDLERS; the suite runs few.
"""

from __future__ import annotations

import asyncio
import math
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from typing import Any

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from leaseq import Context, Fail, Leaseq, Retry
from leaseq.config import Config
from leaseq.errors import Fenced, ServerUnreachable
from leaseq.model import State
from leaseq.operations.open_engine import open_engine
from leaseq.worker.attempt import attempt
from leaseq.worker.worker import Worker
from support.client import Client
from support.odd_exceptions import ODD
from support.worker import promoting, until, working

HANDLERS = int(os.environ.get("LEASEQ_TEST_HANDLERS", "40"))
PROGRAMS = 20
NEIGHBOURS = 4
SLOTS = 8
MOST_ATTEMPTS = 2
# A free hand-back before each of two errors, and one more for a connection of the worker's own that
# was recycled meanwhile.
MOST_RUNS = 2 * MOST_ATTEMPTS + 1
TIME_OUT = 2.0
INSERT = "insert into effects values (%s, %s, 0)"

# Possible statements of a handler inside its transaction.
STATEMENTS = {
    "writes": "select 1",
    "terminates itself": "select pg_terminate_backend(pg_backend_pid())",
    "idles too long": "set local idle_in_transaction_session_timeout = '20ms'; select pg_sleep(0.01)",
    "is refused": "select 1 / 0",
    "talks nonsense": "selec 1",
    "takes too long": "set local statement_timeout = '5ms'; select pg_sleep(1)",
    "makes a savepoint": "savepoint mine",
    "asks for a stricter isolation": "set transaction isolation level repeatable read",
    "raises the lock time-out": "set local lock_timeout = '1h'",
}
# These leave something behind in the session, or end the transaction.
STATE = {
    "commits": "commit",
    "rolls back": "rollback",
    "commits and chains": "commit and chain",
    "search_path": "set search_path = pg_catalog",
    "tenant": "select set_config('app.tenant', 'mine', false)",
    "time-out": "set statement_timeout = '10ms'",
    "asynchronous": "set synchronous_commit = off",
    "isolation": "set default_transaction_isolation = serializable",
    "temporary table": "create temp table mine (n int)",
    "listens": "listen mine",
    "lock": "select pg_try_advisory_lock(1)",
    "name": "set application_name = 'mine'",
    "prepared": "prepare mine as select 1",
    "cursor": "declare mine cursor with hold for select 1",
}
OBSERVED = """
select current_setting('search_path'), coalesce(current_setting('app.tenant', true), ''), current_setting('statement_timeout'),
    current_setting('synchronous_commit'), current_setting('default_transaction_isolation'), current_setting('lock_timeout'),
    current_setting('transaction_isolation'), current_setting('idle_in_transaction_session_timeout'),
    (select count(*) from pg_class where relpersistence = 't' and relnamespace = pg_my_temp_schema()),
    (select count(*) from pg_listening_channels()),
    (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()),
    (select count(*) from pg_cursors where name = 'mine')
"""


async def _closes(ctx: Context, tx: Any) -> None:
    await tx.close()


async def _closes_the_socket(ctx: Context, tx: Any) -> None:
    tx.pgconn.finish()


async def _leaves_a_task(ctx: Context, tx: Any) -> None:
    async def late() -> None:
        await asyncio.sleep(0.05)
        await tx.execute(INSERT, (f"late {ctx.task_id}", ctx.attempt))

    _left.add(task := asyncio.create_task(late()))
    task.add_done_callback(_forget)


async def _leaves_a_statement(ctx: Context, tx: Any) -> None:
    _left.add(task := asyncio.create_task(tx.execute("select pg_sleep(0.2)")))
    task.add_done_callback(_forget)
    await asyncio.sleep(0.01)


async def _makes_rows_dicts(ctx: Context, tx: Any) -> None:
    tx.row_factory = psycopg.rows.dict_row


async def _overlaps(ctx: Context, tx: Any) -> None:
    async def write() -> None:
        async with ctx.transaction() as inner:
            await inner.execute(INSERT, (ctx.task_id, ctx.attempt))

    await asyncio.gather(write(), write())


async def _idles(ctx: Context, tx: Any) -> None:
    await asyncio.sleep(0.1)


_left: set[asyncio.Task[Any]] = set()
INSIDE: dict[str, Callable[[Context, Any], Awaitable[None]]] = {
    "closes": _closes,
    "closes the socket": _closes_the_socket,
    "leaves a task": _leaves_a_task,
    "leaves a statement": _leaves_a_statement,
    "rows are dicts": _makes_rows_dicts,
    "overlaps": _overlaps,
    "idles": _idles,
}


def _forget(task: asyncio.Task[Any]) -> None:
    _left.discard(task)
    if not task.cancelled():
        task.exception()


async def _cancels_itself(ctx: Context) -> None:
    mine = asyncio.current_task()
    assert mine is not None
    mine.cancel()


async def _swallows_its_time_out(ctx: Context) -> None:
    for _ in range(8):
        try:
            await asyncio.sleep(0.5)
        except asyncio.CancelledError:
            continue


async def _reports(ctx: Context) -> None:
    await ctx.set_progress({"done": "half"})


async def _reports_oddly(ctx: Context) -> None:
    await ctx.set_progress(msgspec.Raw(b"no json"))


async def _leaves_a_thread(ctx: Context) -> None:
    threading.Timer(0.05, lambda: None).start()


OUTSIDE: dict[str, Callable[[Context], Awaitable[None]]] = {
    "cancels itself": _cancels_itself,
    "swallows its time-out": _swallows_its_time_out,
    "reports": _reports,
    "reports oddly": _reports_oddly,
    "leaves a thread": _leaves_a_thread,
    "sleeps": lambda ctx: asyncio.sleep(0.02),
    "overruns": lambda ctx: asyncio.sleep(60),
}


def _recursive() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def _deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(200):
        value = [value]
    return value


RETURNS: dict[str, Callable[[], Any]] = {
    "nothing": lambda: None,
    "NaN": lambda: math.nan,
    "infinity": lambda: [math.inf],
    "surrogates": lambda: {"\ud800": "\udfff"},
    "NUL": lambda: "a\0b",
    "too much": lambda: "x" * 2_000_000,
    "itself": _recursive,
    "depth": _deep,
    "an object": object,
    "a generator": lambda: (n for n in range(3)),
    "bytes": lambda: b"\xff",
    "a set": lambda: {1, 2},
    "a huge number": lambda: 10**400,
    "a decimal": lambda: Decimal("NaN"),
    "raw nonsense": lambda: msgspec.Raw(b"no json"),
    "an exception": lambda: ValueError("returned"),
}
RAISES: dict[str, Callable[[], BaseException]] = ODD | {
    "an error": lambda: ValueError("no"),
    "a refusal": lambda: Fail("never"),
    "a retry": lambda: Retry(delay=0),
    "an exit": lambda: SystemExit(3),
    "an interruption": KeyboardInterrupt,
    "a cancellation": asyncio.CancelledError,
    "the end of a generator": GeneratorExit,
    "the end of an iteration": StopAsyncIteration,
    "Fenced": Fenced,
    "ServerUnreachable": ServerUnreachable,
    "no memory": MemoryError,
    "recursion": RecursionError,
}
# `Retry` with a delay of a year waits for a year.
SLOW = {"delay: inf", "delay: a huge int", "delay: bool"}
# The interpreter raises these through the event loop, not into the task that awaits the handler.
LOOP_ENDS = {"an exit", "an interruption"}


class Program(msgspec.Struct, frozen=True):
    """The actions of one handler."""

    steps: list[str]
    swallows: bool
    ending: str
    in_a_thread: bool


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Any few steps, and any ending."""
    in_a_thread = draw(st.booleans()) and draw(st.booleans())
    steps = [*STATEMENTS, *STATE] if in_a_thread else [*STATEMENTS, *STATE, *INSIDE, *OUTSIDE]
    return Program(
        steps=draw(st.lists(st.sampled_from(steps), max_size=3)),
        swallows=draw(st.booleans()),
        ending=draw(st.sampled_from([*RETURNS, *sorted(RAISES.keys() - SLOW - LOOP_ENDS)])),
        in_a_thread=in_a_thread,
    )


def handlers() -> Leaseq:
    app = Leaseq()

    @app.task(max_attempts=MOST_ATTEMPTS)
    async def misbehaves(ctx: Context, program: Program) -> Any:
        for step in program.steps:
            try:
                await _take(ctx, step)
            except Exception:
                if not program.swallows:
                    raise
        return _end(program.ending)

    @app.task(max_attempts=MOST_ATTEMPTS)
    def misbehaves_in_a_thread(ctx: Context, program: Program) -> Any:
        for step in program.steps:
            try:
                with ctx.transaction() as tx:
                    tx.execute(INSERT, (ctx.task_id, ctx.attempt))
                    tx.execute((STATEMENTS | STATE)[step])
            except Exception:
                if not program.swallows:
                    raise
        return _end(program.ending)

    @app.task
    async def behaves(ctx: Context) -> list[Any]:
        async with ctx.transaction() as tx:
            await tx.execute(INSERT, (ctx.task_id, ctx.attempt))
            row = await (await tx.execute(OBSERVED)).fetchone()
        assert isinstance(row, tuple)
        return [*row]

    return app


async def _take(ctx: Context, step: str) -> None:
    if step in OUTSIDE:
        await OUTSIDE[step](ctx)
        return
    async with ctx.transaction() as tx:
        await tx.execute(INSERT, (ctx.task_id, ctx.attempt))
        if step in INSIDE:
            await INSIDE[step](ctx, tx)
        else:
            await tx.execute((STATEMENTS | STATE)[step])


def _end(ending: str) -> Any:
    if ending in RETURNS:
        return RETURNS[ending]()
    exception = RAISES[ending]()
    raise exception


class Scene:
    """One worker for all examples, in an event loop of its own."""

    def __init__(self, client: Client, worker: Worker) -> None:
        self._client = client
        self._worker = worker
        self._usual: list[Any] | None = None

    async def play(self, chosen: list[Program]) -> None:
        """Run these programs between tasks that behave, and look at what they leave."""
        client = self._client
        if self._usual is None:
            self._usual = msgspec.json.decode(
                (await client.ended(await client.submit("behaves"), timeout=60)).result or b"[]"
            )
        odd: dict[str, Program] = {}
        good: list[str] = []
        for number, program in enumerate(chosen):
            name = "misbehaves_in_a_thread" if program.in_a_thread else "misbehaves"
            options = {"max_attempts": MOST_ATTEMPTS, "timeout_seconds": TIME_OUT}
            odd[await client.submit(name, program=program, options=options)] = program
            if number % (PROGRAMS // NEIGHBOURS) == 0:
                good.append(await client.submit("behaves", options={"max_attempts": 1}))
        tasks = await client.all_ended([*odd, *good], timeout=120)
        for task in tasks[: len(odd)]:
            assert task.attempt <= MOST_RUNS, odd[task.task_id]
        for task in tasks[len(odd) :]:
            assert (task.state, task.attempt) == (State.SUCCESS, 1), task
            assert msgspec.json.decode(task.result or b"") == self._usual
        await self._check_effects(
            {task.task_id for task in tasks if task.state is State.SUCCESS}, odd, good
        )
        await self._check_worker()

    async def _check_effects(
        self, succeeded: set[str], odd: dict[str, Program], good: list[str]
    ) -> None:
        found = await self._client.rows(
            "select task_id, count(*), count(distinct attempt) from effects group by task_id"
        )
        rows = {row[0]: row[1:] for row in found}
        assert {task_id: rows.get(task_id) for task_id in good} == dict.fromkeys(good, (1, 1))
        for task_id, program in odd.items():
            if {"commits", "commits and chains"} & {*program.steps}:
                continue
            # what a handler left running may write while its attempt lasts
            for written_by in (task_id, f"late {task_id}"):
                if written_by in rows:
                    assert task_id in succeeded, (program, written_by, rows[written_by])
                    assert rows[written_by][1] == 1, (program, "written by several attempts")

    async def _check_worker(self) -> None:
        """All slots are free, and every connection of the pool is usable and as it was."""
        slots, pool = self._worker.slots, self._worker.attempts._services.handle.pool
        await until(
            lambda: self._worker.running == 0 and slots.running == 0 and slots.unsettled == 0,
            seconds=60,
        )
        assert pool.get_stats().get("requests_waiting", 0) == 0
        async with AsyncExitStack() as stack:
            for _ in range(SLOTS):
                conn = await stack.enter_async_context(pool.connection(timeout=30))
                assert conn.info.transaction_status is psycopg.pq.TransactionStatus.IDLE
                assert conn.autocommit
                assert isinstance(await (await conn.execute("select 1")).fetchone(), tuple)
        assert pool.get_stats()["pool_size"] <= SLOTS


@asynccontextmanager
async def scene(config: Config) -> AsyncIterator[Scene]:
    async with open_engine(config, name="leaseq test client") as engine:
        client = Client(engine, config)
        await client.rows("create table effects (task_id text, attempt int, pid int)")
        async with promoting(engine), working(config, handlers(), concurrency=SLOTS) as worker:
            yield Scene(client, worker)


@pytest.mark.timeout(120 + 3 * HANDLERS)
def test_handlers_that_misbehave_end_and_harm_no_neighbour(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "PATIENCE_SECONDS", 0.3)
    config = replace(
        config,
        backoff_base_seconds=0.01,
        backoff_cap_seconds=0.05,
        hand_back_base_seconds=0.01,
        hand_back_cap_seconds=0.05,
        statement_timeout_seconds=30.0,  # for a machine that does much else
    )
    runner = asyncio.Runner()
    context = scene(config)
    stage = runner.run(context.__aenter__())

    @settings(
        max_examples=max(HANDLERS // PROGRAMS, 1),
        deadline=None,
        database=None,
        suppress_health_check=[*HealthCheck],
        phases=[Phase.generate],  # to shrink an example is to run a thousand more
    )
    @given(st.lists(programs(), min_size=PROGRAMS, max_size=PROGRAMS))
    def play(chosen: list[Program]) -> None:
        runner.run(stage.play(chosen))

    with runner:
        try:
            play()
        finally:
            runner.run(context.__aexit__(None, None, None))
