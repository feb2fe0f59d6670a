"""User code that a type checker accepts, with the expected types."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, assert_type

from msgspec import Struct

from leaseq import Context, Leaseq, Retry, State, Task, TaskHandle
from leaseq.connections.postgres_connection import Connection
from leaseq.task import SyncTaskHandle
from leaseq_http import AsyncClient, Client, LeaseqHTTPError, Submission, Submitted
from leaseq_http import Task as TaskOverHTTP

app = Leaseq()


class Receipt(Struct):
    """A result with a shape of its own."""

    order_id: int
    cents: int


@app.task
async def charge(ctx: Context, order_id: int, cents: int = 100) -> Receipt:
    """Asynchronous, with a context."""
    async with ctx.transaction() as tx:
        assert_type(tx, Connection)
        await tx.execute("insert into charges values (%s, %s, %s)", [order_id, cents, ctx.fence])
    assert_type(ctx.key("mail"), str)
    return Receipt(order_id, cents)


@app.task
async def ping(name: str) -> str:
    """Asynchronous, without a context."""
    return name


@app.task(queue="reports", max_attempts=3, timeout=30, retention=timedelta(days=1))
def report(ctx: Context, month: str) -> list[int]:
    """Plain, with a context and options."""
    with ctx.transaction() as tx:
        rows = tx.execute("select 1")
    if ctx.stopping:
        raise Retry(delay=5)
    return [len(row) for row in rows]


@app.task(name="count")
def count_words(text: str) -> int:
    """Plain, without a context, under another name."""
    return len(text.split())


@app.task
async def forget(order_id: int) -> None:
    """Without a result."""


async def submit_and_wait(conn: Connection) -> None:
    """The calls of a client."""
    async with app as opened:
        assert_type(opened, Leaseq)

    handle = await charge.submit(order_id=1, cents=500)
    assert_type(handle, TaskHandle[Receipt])
    assert_type(handle.id, str)
    assert_type(handle.replayed, bool)
    assert_type(await handle.result(timeout=30), Receipt)
    assert_type(await handle.state(), State)
    assert_type(await handle.find(), Task)
    assert_type(await handle.cancel(), State)

    assert_type(await charge.submit(1), TaskHandle[Receipt])
    assert_type(
        await charge.options(idempotency_key="order-1", delay=10).submit(1, cents=5),
        TaskHandle[Receipt],
    )
    assert_type(await charge.options(connection=conn).submit(order_id=1), TaskHandle[Receipt])
    assert_type(
        await app.submit_many([charge.bind(1), charge.options(delay=5).bind(2)]),
        list[TaskHandle[Receipt]],
    )
    assert_type(
        await app.submit_many((ping.bind("x"),), return_exceptions=True),
        list[TaskHandle[str] | BaseException],
    )
    assert_type(await (await ping.submit("x")).result(), str)
    assert_type(await (await report.submit(month="2026-01")).result(), list[int])
    assert_type(await (await count_words.submit("a b")).result(), int)
    assert_type(await forget.submit(1), TaskHandle[None])
    assert_type(await app.find(handle.id), TaskHandle[Any])


async def call() -> None:
    """A decorated function is still a function."""
    assert_type(await charge(1, cents=5), Receipt)
    assert_type(await charge.options(delay=5)(order_id=1), Receipt)
    assert_type(count_words("a b"), int)
    assert_type(report("2026-01"), list[int])


@app.task
def report_and_tell(ctx: Context, month: str) -> str:
    """A plain handler that submits."""
    with ctx.transaction() as tx:
        assert_type(report.options(connection=tx).sync.submit(month), SyncTaskHandle[list[int]])
    handle = ping.sync.submit("x")
    assert_type(handle.result(timeout=5), str)
    assert_type(handle.state(), State)
    assert_type(handle.find(), Task)
    return handle.id


async def over_http(client: AsyncClient, blocking: Client) -> None:
    """The clients of leaseq-http."""
    submitted = await client.submit("charge", {"order_id": 1}, delay_seconds=5, priority="high")
    assert_type(submitted, Submitted)
    assert_type(await client.result(submitted.task_id, type=Receipt), Receipt)
    assert_type(blocking.result(submitted.task_id, type=list[int]), list[int])
    assert_type(blocking.result(submitted.task_id), Any)
    assert_type(blocking.find(submitted.task_id), TaskOverHTTP)
    outcomes = blocking.submit_many([Submission("charge", {}, queue="billing")])
    assert_type(outcomes, list[Submitted | LeaseqHTTPError])
    async for task in client.list_tasks(state="FAILED"):
        assert_type(task.task_id, str)
