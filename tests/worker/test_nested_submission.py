"""Submission from inside a handler."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import msgspec

from leaseq import Context, Fail, Leaseq
from leaseq.config import Config
from leaseq.model import Lane, State, Task
from support.client import Client
from support.ledger import promote_due
from support.worker import until, working

ONCE = {"max_attempts": 1}


def error_of(task: Task) -> dict[str, Any]:
    assert task.error is not None
    error: dict[str, Any] = msgspec.json.decode(task.error)
    return error


def shop() -> Leaseq:
    """Handlers that submit `receipt` in each way there is; what they return is the id of that
    task."""
    app = Leaseq()

    @app.task
    async def receipt(order_id: int) -> int:
        return order_id

    @app.task
    async def alone(order_id: int) -> str:
        return (await receipt.submit(order_id)).id

    @app.task
    async def beside_a_transaction(ctx: Context, order_id: int) -> str:
        async with ctx.transaction() as tx:
            await tx.execute("insert into effects values (%s, %s, 0)", (ctx.task_id, order_id))
            return (await receipt.options(idempotency_key=ctx.key("receipt")).submit(order_id)).id

    @app.task
    async def within(ctx: Context, order_id: int, fails: bool = False) -> str:
        async with ctx.transaction() as tx:
            handle = await receipt.options(connection=tx).submit(order_id)
        if fails:
            raise Fail(handle.id)
        return handle.id

    @app.task
    def from_a_thread(order_id: int) -> str:
        return receipt.sync.submit(order_id).id

    @app.task
    def within_from_a_thread(ctx: Context, order_id: int, fails: bool = False) -> str:
        with ctx.transaction() as tx:
            handle = receipt.options(connection=tx).sync.submit(order_id)
        if fails:
            raise Fail(handle.id)
        return handle.id

    @app.task
    async def opens(order_id: int) -> str:
        async with app:
            return (await receipt.submit(order_id)).id

    return app


def misled() -> Leaseq:
    """Handlers that use the wrong event loop."""
    app = Leaseq()

    @app.task
    async def receipt(order_id: int) -> int:
        return order_id

    @app.task
    def from_another_loop(order_id: int) -> str:
        async def submit() -> str:
            return (await receipt.submit(order_id)).id

        return asyncio.run(submit())

    @app.task
    async def blocks_the_loop(order_id: int) -> str:
        return receipt.sync.submit(order_id).id

    return app


async def nested(client: Client, name: str, **payload: Any) -> str:
    """The id of the task that a handler has submitted."""
    task = await client.ended(await client.submit(name, options=ONCE, **payload))
    assert task.state is State.SUCCESS, task.error
    return str(msgspec.json.decode(task.result or b""))


async def test_a_handler_that_submits_needs_to_open_nothing(config: Config, client: Client) -> None:
    async with working(config, shop()):
        for name in ("alone", "beside_a_transaction", "from_a_thread", "opens"):
            inner = await client.ended(await nested(client, name, order_id=7))
            assert (inner.type, inner.state, inner.result) == ("receipt", State.SUCCESS, b"7"), name


async def test_many_handlers_that_open_the_app_side_by_side_all_succeed(
    config: Config, client: Client
) -> None:
    async with working(config, shop(), concurrency=12):
        outer = await client.all_ended(await client.submit_many("opens", 36, order_id=1))
        assert {task.state for task in outer} == {State.SUCCESS}
        await client.all_ended([msgspec.json.decode(task.result or b"") for task in outer])


async def test_a_task_of_the_transaction_exists_when_the_attempt_has_succeeded(
    config: Config, client: Client
) -> None:
    async with working(config, shop()):
        for name in ("within", "within_from_a_thread"):
            inner = await client.find(await nested(client, name, order_id=7))
            # due; no reaper runs here
            assert (inner.type, inner.state) == ("receipt", State.SCHEDULED), name


async def test_a_task_of_the_transaction_is_gone_when_the_attempt_has_failed(
    config: Config, client: Client
) -> None:
    async with working(config, shop()):
        for name in ("within", "within_from_a_thread"):
            task = await client.ended(
                await client.submit(name, options=ONCE, order_id=7, fails=True)
            )
            inner = error_of(task)["message"]
            assert task.state is State.FAILED
            assert await client.rows("select id from leaseq.tasks where id = %s", inner) == [], name


async def test_a_submission_from_a_foreign_event_loop_is_refused_with_the_remedy(
    config: Config, client: Client
) -> None:
    async with working(config, misled()):
        for name, remedy in (("from_another_loop", ".sync.submit"), ("blocks_the_loop", "await")):
            task = await client.ended(await client.submit(name, options=ONCE, order_id=7))
            error = error_of(task)
            assert (task.state, error["type"]) == (State.FAILED, "NotOpen")
            assert remedy in error["message"]


async def test_a_repeated_attempt_with_a_key_of_the_context_submits_one_task(
    config: Config, client: Client
) -> None:
    app, ids = Leaseq(), list[str]()

    @app.task
    async def receipt() -> None: ...

    @app.task
    async def twice(ctx: Context) -> None:
        ids.append((await receipt.options(idempotency_key=ctx.key("receipt")).submit()).id)
        if ctx.retry_count == 0:
            raise ValueError("once more")

    async with working(config, app):
        task_id = await client.submit("twice", options={"max_attempts": 2})
        await until(lambda: len(ids) == 1)
        await client.rows("update leaseq.scheduled set run_at = now() where task_id = %s", task_id)
        promoted = await promote_due(client.engine.stores.tasks, limit=10)
        client.engine.pusher.offer(
            (("default", Lane.NORMAL, task_id) for task_id in promoted), redelivery=True
        )
        await client.ended(task_id)
    assert len(ids) == 2
    assert len(set(ids)) == 1


async def test_a_handler_calls_another_one_as_a_function_in_its_own_transaction(
    config: Config, client: Client
) -> None:
    app = Leaseq()

    @app.task
    async def inner(ctx: Context, n: int) -> str:
        async with ctx.transaction() as tx:
            await tx.execute("insert into effects values (%s, %s, 0)", (ctx.task_id, n))
        return ctx.task_id

    @app.task
    async def outer(ctx: Context) -> list[str]:
        return [await inner(1), await inner(n=2), await inner(3, ctx=ctx)]  # type: ignore[call-arg]

    @app.task
    def counted(ctx: Context, n: int) -> int:
        with ctx.transaction() as tx:
            tx.execute("insert into effects values (%s, %s, 0)", (ctx.task_id, n))
        return threading.get_ident()

    @app.task
    def outer_thread(ctx: Context) -> bool:
        return counted(4) == threading.get_ident()

    async with working(config, app):
        task = await client.ended(await client.submit("outer", options=ONCE))
        assert msgspec.json.decode(task.result or b"") == [task.task_id] * 3
        assert await client.effects(task.task_id) == 3
        threaded = await client.ended(await client.submit("outer_thread", options=ONCE))
        assert (threaded.result, await client.effects(threaded.task_id)) == (b"true", 1)
    assert await client.rows("select count(*) from leaseq.tasks") == [(2,)]
