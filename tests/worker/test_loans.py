"""A handler's connection serves the attempt that borrowed it, and no other caller."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import psycopg
import pytest
from psycopg.rows import dict_row

from leaseq import Context, Fail, Leaseq
from leaseq.config import Config
from leaseq.errors import Fenced, TransactionForeign
from leaseq.model import State, Task
from support.client import Client
from support.worker import stop_myself, working

ONCE = {"max_attempts": 1}
SERVER_CURSORS: list[psycopg.AsyncServerCursor[Any]] = []
INSERT = "insert into effects values ('stolen', 1, 0)"
CURSOR = "select generate_series(1, 9)"


def code_of(task: Task) -> str:
    assert task.error is not None
    return str(msgspec.json.decode(task.error)["code"])


Use = Callable[[], Awaitable[Any]]


async def keep_connection(ctx: Context, tx: Any, kept: dict[str, Any]) -> Use:
    return lambda: tx.execute(INSERT)


async def keep_method(ctx: Context, tx: Any, kept: dict[str, Any]) -> Use:
    execute = tx.execute
    return lambda: execute(INSERT)


async def keep_cursor(ctx: Context, tx: Any, kept: dict[str, Any]) -> Use:
    cursor = tx.cursor()
    return lambda: cursor.execute(INSERT)


async def keep_cursor_of_a_class(ctx: Context, tx: Any, kept: dict[str, Any]) -> Use:
    cursor = psycopg.AsyncClientCursor(tx)
    return lambda: cursor.execute(INSERT)


async def keep_many(ctx: Context, tx: Any, kept: dict[str, Any]) -> Use:
    cursor = tx.cursor()
    return lambda: cursor.executemany("insert into effects values ('stolen', %s, 0)", [(1,), (2,)])


async def keep_server_cursor(ctx: Context, tx: Any, kept: dict[str, Any]) -> Use:
    cursor = tx.cursor("of_the_first")
    SERVER_CURSORS.append(cursor)
    await cursor.execute(CURSOR)
    return cast(Use, cursor.fetchone)


async def keep_transaction(ctx: Context, tx: Any, kept: dict[str, Any]) -> Use:
    transaction = tx.transaction

    async def enter() -> None:
        async with transaction():
            await tx.execute(INSERT)

    return enter


async def keep_open_transaction(ctx: Context, tx: Any, kept: dict[str, Any]) -> Use:
    block = psycopg.AsyncTransaction(tx)
    await block.__aenter__()
    kept["ends"] = False

    async def leave() -> None:
        await block.__aexit__(None, None, None)  # on a closed connection it does nothing
        await tx.execute(INSERT)

    return leave


async def keep_pipeline(ctx: Context, tx: Any, kept: dict[str, Any]) -> Use:
    async def pipe() -> None:
        async with tx.pipeline():
            await tx.execute(INSERT)

    return pipe


async def keep_copy(ctx: Context, tx: Any, kept: dict[str, Any]) -> Use:
    async def copy() -> None:
        async with tx.cursor().copy("copy effects (task_id) from stdin") as rows:
            await rows.write_row(("stolen",))

    return copy


async def keep_notifies(ctx: Context, tx: Any, kept: dict[str, Any]) -> Use:
    notifies = tx.notifies
    return lambda: anext(notifies(timeout=0))


async def keep_stream(ctx: Context, tx: Any, kept: dict[str, Any]) -> Use:
    stream = tx.cursor().stream
    return lambda: anext(stream(CURSOR))


async def keep_cancel(ctx: Context, tx: Any, kept: dict[str, Any]) -> Use:
    return cast(Use, tx.cancel_safe)


async def keep_close(ctx: Context, tx: Any, kept: dict[str, Any]) -> Use:
    return cast(Use, tx.close)


async def keep_context(ctx: Context, tx: Any, kept: dict[str, Any]) -> Use:
    async def enter() -> None:
        async with ctx.transaction() as mine:
            await mine.execute(INSERT)

    return enter


KEPT = [
    keep_connection,
    keep_method,
    keep_cursor,
    keep_cursor_of_a_class,
    keep_many,
    keep_server_cursor,
    keep_transaction,
    keep_open_transaction,
    keep_pipeline,
    keep_copy,
    keep_notifies,
    keep_stream,
    keep_cancel,
    keep_close,
    keep_context,
]


async def of_the_attempt(use: Use) -> Any:
    """As the code of the second handler does it."""
    return await use()


async def of_a_bare_task(use: Use) -> Any:
    """A task without the contextvars of any attempt."""

    async def call() -> Any:
        return await use()

    return await asyncio.get_running_loop().create_task(call(), context=contextvars.Context())


async def of_a_thread(use: Use) -> Any:
    """A thread without them, which reaches the worker's loop."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    answers: list[Any] = []

    async def call() -> Any:
        return await use()

    def run() -> None:
        try:
            answers.append(asyncio.run_coroutine_threadsafe(call(), loop).result(10))
        except BaseException as error:
            answers.append(error)
        loop.call_soon_threadsafe(done.set)

    threading.Thread(target=run).start()
    await done.wait()
    if isinstance(answers[0], BaseException):
        raise answers[0]
    return answers[0]


CALLERS = [of_the_attempt, of_a_bare_task, of_a_thread]


@pytest.mark.parametrize("ending", ["return", "raise", "stop"])
async def test_objects_kept_from_one_attempt_are_refused_in_the_next(
    config: Config, client: Client, ending: str
) -> None:
    """Each kind of handle that an attempt can keep, used from each place, on the same pooled
    connection."""
    app, uses = Leaseq(), dict[str, Use]()
    refused: dict[tuple[str, str], BaseException | None] = {}

    @app.task
    async def keeps(ctx: Context, what: int) -> None:
        kept: dict[str, Any] = {}
        async with ctx.transaction() as tx:
            uses[KEPT[what].__name__] = await KEPT[what](ctx, tx, kept)
            if ending == "raise" or "ends" in kept:
                raise Fail
            if ending == "stop":
                await stop_myself()

    @app.task
    async def uses_it(ctx: Context, what: int) -> None:
        name = KEPT[what].__name__
        async with ctx.transaction() as tx:
            await tx.execute("insert into effects values (%s, 1, 0)", (ctx.task_id,))
            for caller in CALLERS:
                try:
                    await caller(uses[name])
                    refused[name, caller.__name__] = None
                except Exception as error:
                    refused[name, caller.__name__] = error

    async with working(config, app, concurrency=1):
        for what in range(len(KEPT)):
            await client.ended(await client.submit("keeps", what=what, options=ONCE))
            task = await client.ended(await client.submit("uses_it", what=what, options=ONCE))
            assert (task.state, await client.effects(task.task_id)) == (State.SUCCESS, 1), KEPT[
                what
            ].__name__
    for cursor in SERVER_CURSORS:
        await cursor.close()  # psycopg warns of one that is deleted while it is open
    SERVER_CURSORS.clear()
    unrefused = {key: error for key, error in refused.items() if not isinstance(error, Fenced)}
    assert unrefused == {}
    assert len(refused) == len(KEPT) * len(CALLERS)
    assert await client.effects("stolen") == 0


async def test_a_live_transaction_is_refused_to_every_other_caller(
    config: Config, client: Client
) -> None:
    """Also while the attempt that borrowed it goes on."""
    app, uses, kept_all, done = Leaseq(), dict[str, Use](), asyncio.Event(), asyncio.Event()
    refused: dict[tuple[str, str], BaseException | None] = {}
    kinds = [keep for keep in KEPT if keep not in (keep_open_transaction, keep_server_cursor)]

    @app.task
    async def keeps(ctx: Context) -> None:
        async with ctx.transaction() as tx:
            for keep in kinds:
                uses[keep.__name__] = await keep(ctx, tx, {})
            kept_all.set()
            await done.wait()
            await tx.execute("insert into effects values (%s, 1, 0)", (ctx.task_id,))

    @app.task
    async def uses_them(ctx: Context) -> None:
        for name, use in uses.items():
            for caller in CALLERS:
                try:
                    await caller(use)
                    refused[name, caller.__name__] = None
                except Exception as error:
                    refused[name, caller.__name__] = error

    async with working(config, app, concurrency=2):
        keeper = await client.submit("keeps", options=ONCE)
        await kept_all.wait()
        user = await client.ended(await client.submit("uses_them", options=ONCE))
        done.set()
        task = await client.ended(keeper)
    assert {
        key: error for key, error in refused.items() if not isinstance(error, TransactionForeign)
    } == {}
    assert (user.state, task.state) == (State.SUCCESS, State.SUCCESS)
    assert (await client.effects("stolen"), await client.effects(task.task_id)) == (0, 1)


async def test_a_foreign_transaction_is_the_handlers_own_error(
    config: Config, client: Client
) -> None:
    """Unlike `Fenced`, which costs nothing: a handler with this fault would run without end."""
    app, kept = Leaseq(), list[Any]()

    @app.task
    async def keeps(ctx: Context) -> None:
        async with ctx.transaction() as tx:
            kept.append(tx)

    @app.task
    async def uses_it() -> None:
        await kept[0].execute(INSERT)

    async with working(config, app, concurrency=1):
        await client.ended(await client.submit("keeps"))
        task = await client.ended(await client.submit("uses_it", options=ONCE))
    assert (task.state, code_of(task)) == (State.FAILED, "transaction_foreign")


async def test_tasks_and_threads_of_the_attempt_are_served(config: Config, client: Client) -> None:
    app = Leaseq()

    @app.task
    async def in_tasks(ctx: Context) -> None:
        async with ctx.transaction() as tx, asyncio.TaskGroup() as group:
            for n in range(3):
                group.create_task(
                    tx.execute("insert into effects values (%s, %s, 0)", (ctx.task_id, n))
                )

    @app.task
    def in_threads(ctx: Context) -> None:
        with ctx.transaction() as tx:

            def write(n: int) -> None:
                tx.execute("insert into effects values (%s, %s, 0)", (ctx.task_id, n))

            threads = [
                threading.Thread(target=contextvars.copy_context().run, args=(write, n))
                for n in range(3)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    async with working(config, app):
        for name in ("in_tasks", "in_threads"):
            task = await client.ended(await client.submit(name, options=ONCE))
            assert (task.state, await client.effects(task.task_id)) == (State.SUCCESS, 3)


async def test_the_blocking_face_of_one_attempt_is_refused_in_the_next(
    config: Config, client: Client
) -> None:
    app, kept, refused = Leaseq(), list[Any](), list[BaseException]()

    @app.task
    def keeps(ctx: Context) -> None:
        with ctx.transaction() as tx:
            kept.append(tx)

    @app.task
    def uses_it(ctx: Context) -> None:
        with ctx.transaction():
            try:
                kept[0].execute(INSERT)
            except Exception as error:
                refused.append(error)

    async with working(config, app, concurrency=1):
        for name in ("keeps", "uses_it"):
            assert (
                await client.ended(await client.submit(name, options=ONCE))
            ).state is State.SUCCESS
    assert [type(error) for error in refused] == [TransactionForeign]
    assert await client.effects("stolen") == 0


async def test_a_libpq_handle_that_was_kept_reaches_no_other_attempt(
    config: Config, client: Client
) -> None:
    """leaseq cannot watch what goes past psycopg: the connection is closed instead of being used
    again."""
    app, kept, refused = Leaseq(), list[Any](), list[BaseException]()

    @app.task
    async def keeps(ctx: Context) -> None:
        async with ctx.transaction() as tx:
            kept.append(tx.pgconn)

    @app.task
    async def uses_it(ctx: Context) -> None:
        async with ctx.transaction():
            try:
                kept[0].exec_(INSERT.encode())
            except psycopg.OperationalError as error:
                refused.append(error)

    async with working(config, app, concurrency=1):
        for name in ("keeps", "uses_it"):
            assert (
                await client.ended(await client.submit(name, options=ONCE))
            ).state is State.SUCCESS
    assert len(refused) == 1
    assert await client.effects("stolen") == 0


async def test_an_open_wait_for_notifications_ends_with_its_attempt(
    config: Config, client: Client
) -> None:
    """It reads from the same socket, and would take the answers of the next attempt."""
    app, left = Leaseq(), list[asyncio.Task[Any]]()

    @app.task
    async def listens(ctx: Context, ending: str) -> None:
        async def wait(tx: Any) -> None:
            async for _ in tx.notifies():
                pass

        async with ctx.transaction() as tx:
            await tx.execute("listen anything")
        left.append(asyncio.create_task(wait(tx)))
        await asyncio.sleep(0)
        if ending == "raise":
            raise ValueError

    async with working(config, app, concurrency=1):
        first, second = [
            await client.submit("listens", ending=how, options=ONCE) for how in ("return", "raise")
        ]
        tasks = await client.all_ended([first, second])
        assert [code_of(task) for task in tasks] == ["commit_refused", "error"]
        refused = await asyncio.wait_for(asyncio.gather(*left, return_exceptions=True), 10)
        assert [type(error) for error in refused] == [Fenced, Fenced]


async def test_nothing_that_a_handler_sets_on_its_connection_is_there_in_the_next_attempt(
    config: Config, client: Client
) -> None:
    app, seen = Leaseq(), list[Any]()

    @app.task
    async def sets(ctx: Context) -> None:
        async with ctx.transaction() as tx:
            tx.row_factory = dict_row
            tx.cursor_factory = psycopg.AsyncClientCursor
            tx.server_cursor_factory = psycopg.AsyncServerCursor
            tx.prepare_threshold = 0
            tx.prepared_max = 3
            tx.adapters.register_loader("int4", psycopg.types.string.TextLoader)
            tx.add_notice_handler(lambda diagnostic: seen.append(diagnostic.message_primary))
            tx.add_notify_handler(seen.append)
            tx.tenant = "of the first"  # type: ignore[attr-defined]
            await tx.execute("select 1")

    @app.task
    async def looks(ctx: Context) -> list[Any]:
        async with ctx.transaction() as tx:
            await tx.execute("do $$ begin raise notice 'of the second'; end $$")
            await tx.execute("notify anything")
            row = await (await tx.execute("select 1::int4")).fetchone()
            assert isinstance(tx, psycopg.AsyncConnection)
            state = [
                tx.prepare_threshold,
                tx.prepared_max,
                tx.autocommit,
                hasattr(tx, "tenant"),
            ]
            return [
                row,
                [str(getattr(tx, name).__name__) for name in ("row_factory", "cursor_factory")],
                state,
            ]

    async with working(config, app, concurrency=1):
        fresh = await client.ended(await client.submit("looks"))
        await client.ended(await client.submit("sets"))
        task = await client.ended(await client.submit("looks"))
    assert (task.state, task.result, seen) == (State.SUCCESS, fresh.result, [])
    assert fresh.result is not None
    assert msgspec.json.decode(fresh.result) == [
        [1],
        ["tuple_row", "AsyncCursor"],
        [5, 100, True, False],
    ]


@pytest.mark.parametrize(
    "refused",
    [
        lambda tx: tx.commit(),
        lambda tx: tx.rollback(),
        lambda tx: tx.__aenter__(),
        lambda tx: tx.set_autocommit(False),
        lambda tx: tx.set_isolation_level(psycopg.IsolationLevel.SERIALIZABLE),
        lambda tx: tx.set_read_only(True),
        lambda tx: tx.set_deferrable(True),
        lambda tx: tx.tpc_begin(tx.xid(1, "a", "b")),
    ],
    ids=[
        "commit",
        "rollback",
        "async with",
        "autocommit",
        "isolation",
        "read only",
        "deferrable",
        "two phases",
    ],
)
async def test_the_ways_of_psycopg_to_end_a_transaction_are_refused(
    config: Config, client: Client, refused: Callable[[Any], Awaitable[Any]]
) -> None:
    """They say so, and end nothing: the handler may go on."""
    app = Leaseq()

    @app.task
    async def tries(ctx: Context) -> None:
        async with ctx.transaction() as tx:
            await tx.execute("insert into effects values (%s, 1, 0)", (ctx.task_id,))
            with pytest.raises(psycopg.ProgrammingError):
                await refused(tx)

    async with working(config, app):
        task = await client.ended(await client.submit("tries", options=ONCE))
    assert (task.state, await client.effects(task.task_id)) == (State.SUCCESS, 1)


async def test_libpq_settings_of_a_handler_are_undone(
    config: Config, client: Client, tmp_path: Path
) -> None:
    app, traced = Leaseq(), tmp_path / "trace"

    @app.task
    async def sets(ctx: Context) -> int:
        async with ctx.transaction() as tx:
            with traced.open("wb") as file:
                tx.pgconn.trace(os.dup(file.fileno()))
            tx.pgconn.nonblocking = 0
            os.set_blocking(tx.fileno(), True)
            return tx.info.backend_pid

    @app.task
    async def looks(ctx: Context) -> list[Any]:
        async with ctx.transaction() as tx:
            await tx.execute("select 'of a neighbour'")
            return [tx.info.backend_pid, tx.pgconn.nonblocking, os.get_blocking(tx.fileno())]

    async with working(config, app, concurrency=1):
        pid = msgspec.json.decode((await client.ended(await client.submit("sets"))).result or b"")
        found = msgspec.json.decode(
            (await client.ended(await client.submit("looks"))).result or b""
        )
    assert found == [pid, 1, False]
    assert b"of a neighbour" not in traced.read_bytes()
