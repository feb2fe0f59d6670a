"""Progress is written rarely: the first value, some, and the last one."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

import psycopg
import pytest

from leaseq import Context, Fail, Leaseq
from leaseq.config import Config
from leaseq.errors import Fenced, ServerUnreachable
from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from leaseq.model import State
from leaseq.worker.attempt.progress import INTERVAL_SECONDS, INTERVAL_SHARE, ProgressWriter
from support.client import Client
from support.ledger import open_worker
from support.worker import until, working

ONCE = {"max_attempts": 1}
OFTEN = 3_000


async def pages_of(postgres_url: str, task_id: str) -> int:
    """How many pages a look at one task touches."""
    async with await psycopg.AsyncConnection.connect(postgres_url) as conn:
        cursor = psycopg.AsyncClientCursor(conn)
        await cursor.execute("set enable_seqscan = off")
        await cursor.execute(
            "explain (analyze, buffers, format json) select * from leaseq.tasks where id = %s",
            [task_id],
        )
        row = await cursor.fetchone()
    assert row is not None
    plan = row[0][0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


async def test_progress_beside_a_long_transaction_slows_no_look_at_its_task_down(
    config: Config, client: Client, postgres_url: str
) -> None:
    """The transaction keeps every version of the task, as pg_dump does for hours."""
    app = Leaseq()

    @app.task
    async def reports(ctx: Context, count: int) -> None:
        for n in range(count):
            await ctx.set_progress(n)

    async with (
        working(config, app),
        await psycopg.AsyncConnection.connect(postgres_url) as snapshot,
    ):
        await snapshot.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
        await snapshot.execute("select 1")
        few = await client.ended(await client.submit("reports", count=1, options=ONCE))
        many = await client.ended(
            await client.submit("reports", count=OFTEN, options=ONCE), timeout=60
        )
        assert (few.progress, many.progress) == (b"0", b"%d" % (OFTEN - 1))
        before, after = [await pages_of(postgres_url, task.task_id) for task in (few, many)]
    assert after <= 2 * before


@pytest.mark.parametrize("how", ["returns", "fails", "commits", "undoes", "overruns"])
async def test_the_last_value_is_there_whatever_the_ending(
    config: Config, client: Client, how: str
) -> None:
    app = Leaseq()

    @app.task
    async def reports(ctx: Context, how: str) -> None:
        if how in ("commits", "undoes"):
            async with ctx.transaction() as tx:
                await tx.execute("select 1")
        for n in range(3):
            await ctx.set_progress(n)
        if how in ("fails", "undoes"):
            raise Fail("as it was asked to")
        if how == "overruns":
            await asyncio.sleep(60)

    async with working(config, app):
        options = ONCE | ({"timeout_seconds": 0.2} if how == "overruns" else {})
        task = await client.ended(await client.submit("reports", how=how, options=options))
    assert (task.state, task.progress) == (
        State.SUCCESS if how in ("returns", "commits") else State.FAILED,
        b"2",
    )


class Row:
    """Records written values, with the time."""

    def __init__(self) -> None:
        self.values: list[bytes] = []
        self.answers: list[Any] = []

    async def write(self, value: bytes) -> bool:
        answer = self.answers.pop(0) if self.answers else True
        if isinstance(answer, Exception):
            raise answer
        self.values.append(value)
        return bool(answer)


async def test_the_first_value_is_written_immediately_and_the_newest_when_the_interval_is_over() -> (
    None
):
    row = Row()
    writer = ProgressWriter(row.write, asyncio.get_running_loop())
    began = monotonic()
    await asyncio.gather(*[writer.put(b"%d" % n) for n in range(5)])
    assert row.values == [b"0"]
    await until(lambda: not writer.waits)
    assert row.values == [b"0", b"4"]
    assert monotonic() - began >= INTERVAL_SECONDS


async def test_an_attempt_that_runs_for_long_writes_less_often() -> None:
    row, loop = Row(), asyncio.get_running_loop()
    writer = ProgressWriter(row.write, loop)
    writer._began -= 3600
    await writer.put(b"1")
    await writer.put(b"2")
    assert 3600 * INTERVAL_SHARE - 2 < writer._due - loop.time() <= 3600 * INTERVAL_SHARE + 1
    await writer.finish()
    assert row.values == [b"1", b"2"]
    assert writer._timer is None


async def test_late_refusal_is_raised_by_the_next_call() -> None:
    for answer, kind in ((ValueError("no"), ValueError), (False, Fenced)):
        row = Row()
        row.answers = [True, answer]
        writer = ProgressWriter(row.write, asyncio.get_running_loop())
        await writer.put(b"1")
        await writer.put(b"2")
        await until(lambda writer=writer: writer._refusal is not None)
        with pytest.raises(kind):
            await writer.put(b"3")
        await writer.put(b"4")
        await writer.finish()
        assert row.values[-1] == b"4"


async def test_a_value_that_finds_postgres_away_is_written_later() -> None:
    row = Row()
    row.answers = [True, ServerUnreachable("away")]
    writer = ProgressWriter(row.write, asyncio.get_running_loop())
    await writer.put(b"1")
    await writer.put(b"2")
    await until(lambda: not writer.waits)
    assert row.values == [b"1", b"2"]


async def test_a_handler_that_reports_in_a_loop_lets_others_run() -> None:
    writer, others = ProgressWriter(Row().write, asyncio.get_running_loop()), 0

    async def run() -> None:
        nonlocal others
        while True:
            others += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(run())
    for n in range(100):
        await writer.put(b"%d" % n)
    beside.cancel()
    writer.close()
    assert others >= 99


async def test_progress_of_an_attempt_that_was_taken_away_is_refused(
    config: Config, client: Client, ledger: TaskLedger, worker_ledger: WorkerLedger
) -> None:
    app, told = Leaseq(), asyncio.Event()
    refused = asyncio.Event()

    @app.task
    async def reports(ctx: Context) -> None:
        await ctx.set_progress(0)
        told.set()
        try:
            while True:
                await ctx.set_progress(1)
                await asyncio.sleep(0.01)
        except Fenced:
            refused.set()

    async with working(config, app):
        task_id = await client.submit("reports", options=ONCE)
        await told.wait()
        thief = await open_worker(worker_ledger)
        await client.rows(
            "update leaseq.tasks set attempt = attempt + 1, worker_id = %s where id = %s",
            thief,
            task_id,
        )
        async with asyncio.timeout(30):
            await refused.wait()
