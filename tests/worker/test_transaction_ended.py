"""A handler that ends its transaction fails with `transaction_ended`."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest

from leaseq import Context, Leaseq, Retry
from leaseq.config import Config
from leaseq.model import State, Task
from leaseq.worker.attempt.transaction import SAVEPOINT
from support.client import Client
from support.worker import stop_myself, working

ONCE = {"max_attempts": 1}
INSERT = "insert into effects values (%s, %s, 0)"

# Statements that end the transaction that leaseq opened, or leave another one open in its place.
ENDINGS = {
    "commit": "commit",
    "end": "end",
    "rollback": "rollback",
    "abort": "abort",
    "commit and chain": "commit and chain",
    "end and chain": "end transaction and chain",
    "rollback and chain": "rollback and chain",
    "abort and chain": "abort and chain",
    "commit, begin": "commit; begin",
    "commit, begin, with our savepoint": f"commit; begin; savepoint {SAVEPOINT}",
    "chain, with a savepoint of psycopg's name": "commit and chain; savepoint _pg3_1",
    "release of our savepoint": f"release savepoint {SAVEPOINT}",
}
AFTERWARDS = ["returns", "writes", "raises", "retries", "errs", "is stopped"]


def code_of(task: Task) -> str:
    assert task.error is not None, task
    return str(msgspec.json.decode(task.error)["code"])


async def go_on(ctx: Context, tx: Any, afterwards: str) -> None:
    match afterwards:
        case "writes":
            await tx.execute(INSERT, (ctx.task_id, 2))
        case "raises":
            raise ValueError
        case "retries":
            raise Retry(delay=0)
        case "errs":
            await tx.execute("select no_such_column")
        case "is stopped":
            await stop_myself()


def app_that_ends_its_transaction() -> Leaseq:
    app = Leaseq()

    @app.task
    async def inside(ctx: Context, how: str, afterwards: str) -> None:
        async with ctx.transaction() as tx:
            await tx.execute(INSERT, (ctx.task_id, 1))
            await tx.execute(ENDINGS[how].encode())
            await go_on(ctx, tx, afterwards)

    @app.task
    async def outside(ctx: Context, how: str, afterwards: str) -> None:
        async with ctx.transaction() as tx:
            await tx.execute(INSERT, (ctx.task_id, 1))
        await tx.execute(ENDINGS[how].encode())
        await go_on(ctx, tx, afterwards)

    @app.task
    async def swallowing(ctx: Context, how: str, afterwards: str) -> None:
        with suppress(Exception):
            async with ctx.transaction() as tx:
                await tx.execute(INSERT, (ctx.task_id, 1))
                await tx.execute(ENDINGS[how].encode())
                with suppress(Exception):
                    await go_on(ctx, tx, afterwards)

    @app.task
    def in_a_thread(ctx: Context, how: str, afterwards: str) -> None:
        with ctx.transaction() as tx:
            tx.execute(INSERT, (ctx.task_id, 1))
            tx.execute(ENDINGS[how])
            if afterwards == "raises":
                raise ValueError
            tx.execute(INSERT, (ctx.task_id, 2))

    return app


@pytest.mark.parametrize("where", ["inside", "outside", "swallowing", "in_a_thread"])
async def test_a_handler_that_ends_its_transaction_fails_once(
    config: Config, client: Client, where: str
) -> None:
    """In every case, committed rows are never committed twice."""
    cases = [(how, afterwards) for how in ENDINGS for afterwards in AFTERWARDS]
    async with working(config, app_that_ends_its_transaction(), concurrency=4):
        ids = [
            await client.submit(where, how=how, afterwards=afterwards, options=ONCE)
            for how, afterwards in cases
        ]
        tasks = await client.all_ended(ids, timeout=200)
    found = {
        case: (task.state, code_of(task), task.attempt)
        for case, task in zip(cases, tasks, strict=True)
    }
    assert {
        case: seen for case, seen in found.items() if seen != (State.FAILED, "transaction_ended", 1)
    } == {}


async def test_chained_transaction_is_reported_as_one_failure(
    config: Config, client: Client
) -> None:
    app = Leaseq()

    @app.task
    async def chains(ctx: Context) -> None:
        async with ctx.transaction() as tx:
            for n in range(3):
                await tx.execute(INSERT, (ctx.task_id, n))
                await tx.execute("commit and chain")

    async with working(config, app):
        task = await client.ended(await client.submit("chains"))
    assert (task.state, code_of(task), task.attempt) == (State.FAILED, "transaction_ended", 1)
    assert await client.effects(task.task_id) == 3


async def test_savepoints_of_the_handler_end_nothing(config: Config, client: Client) -> None:
    app = Leaseq()

    @app.task
    async def plays(ctx: Context) -> None:
        async with ctx.transaction() as tx:
            await tx.execute("savepoint mine")
            await tx.execute(INSERT, (ctx.task_id, 1))
            await tx.execute("rollback to savepoint mine")
            await tx.execute("release savepoint mine")
            async with tx.transaction("another"):
                await tx.execute(INSERT, (ctx.task_id, 2))
        await tx.execute(INSERT, (ctx.task_id, 3))

    async with working(config, app):
        task = await client.ended(await client.submit("plays"))
    assert (task.state, await client.effects(task.task_id)) == (State.SUCCESS, 2)


async def test_an_error_that_was_swallowed_between_blocks_is_no_end(
    config: Config, client: Client
) -> None:
    """The transaction has failed, and is still the one that was opened."""
    app = Leaseq()

    @app.task
    async def errs(ctx: Context) -> None:
        async with ctx.transaction() as tx:
            await tx.execute(INSERT, (ctx.task_id, 1))
        with pytest.raises(Exception, match="no_such_column"):
            await tx.execute("select no_such_column")

    async with working(config, app):
        task = await client.ended(await client.submit("errs", options=ONCE))
    assert (task.state, code_of(task), await client.effects(task.task_id)) == (
        State.FAILED,
        "commit_refused",
        0,
    )
