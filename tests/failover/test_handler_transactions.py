"""Attempts with an open transaction during a failover."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import psycopg
import pytest
from msgspec.structs import replace

from leaseq import Context, Leaseq
from leaseq.config import Config
from leaseq.model import Outcome, State
from leaseq.observability.telemetry import Event, recorded
from leaseq.operations.open_engine import open_engine
from support.client import Client
from support.processes import PATIENCE
from support.proxy import ProxyTo
from support.servers import Pair, at
from support.worker import until, working

# Two servers of its own for each test.
EFFECTS = "create table public.effects (task_id text, attempt int)"


@pytest.fixture
def frozen(pair: Pair) -> Iterator[Pair]:
    with psycopg.connect(pair.primary.url, autocommit=True) as conn:
        conn.execute(EFFECTS)
    yield pair
    pair.primary.thaw()


class Handlers:
    """A handler that writes, and lingers in its first run: in Postgres, or at its own work."""

    def __init__(self, where: str) -> None:
        self.app = Leaseq()
        self.go = asyncio.Event()
        self.wrote = asyncio.Event()
        self.refusals = 0
        self.runs = 0

        @self.app.task(timeout=3600)
        async def write(ctx: Context) -> None:
            self.runs += 1
            async with ctx.transaction() as tx:
                await tx.execute(
                    "insert into public.effects values (%s, %s)", (ctx.task_id, ctx.attempt)
                )
                self.wrote.set()
                if self.runs == 1:
                    await (
                        tx.execute("select pg_sleep(3600)")
                        if where == "in Postgres"
                        else asyncio.Event().wait()
                    )

        @self.app.task
        async def wait_and_write(ctx: Context) -> None:
            self.runs += 1
            await self.go.wait()
            try:
                async with ctx.transaction() as tx:
                    await tx.execute(
                        "insert into public.effects values (%s, %s)", (ctx.task_id, ctx.attempt)
                    )
            except BaseException:
                self.refusals += 1
                raise


def settled(events: list[Event]) -> list[tuple[Outcome, State]]:
    return [
        (event.fields["outcome"], event.fields["state"])
        for event in events
        if event.name == "attempt.settled"
    ]


def told(events: list[Event], name: str) -> bool:
    return any(event.name == name for event in events)


@pytest.mark.parametrize("where", ["in Postgres", "at its own work"])
async def test_an_attempt_on_a_frozen_primary_is_handed_back(
    config: Config, frozen: Pair, proxy_to: ProxyTo, where: str
) -> None:
    proxy = await proxy_to(frozen.primary.url)
    far = replace(at(config, proxy.url), statement_timeout_seconds=2)
    handlers = Handlers(where)
    with recorded() as events:
        async with open_engine(far) as engine, working(far, handlers.app):
            task_id = await Client(engine, far).submit("write")
            async with await psycopg.AsyncConnection.connect(
                frozen.standby.url, autocommit=True
            ) as standby:
                await until(lambda: _is_processing(standby, task_id), seconds=PATIENCE)
            await asyncio.wait_for(handlers.wrote.wait(), PATIENCE)
            frozen.primary.freeze()
            await asyncio.to_thread(frozen.standby.promote)
            proxy.lead_to(frozen.standby.url)
            await until(lambda: bool(settled(events)), seconds=6 * PATIENCE)
    assert settled(events)[0] == (Outcome.RELEASED, State.SCHEDULED)


async def test_a_handler_that_begins_to_write_in_a_read_only_window_is_not_charged(
    config: Config, frozen: Pair
) -> None:
    near = at(config, frozen.primary.url)
    handlers = Handlers("")
    async with await psycopg.AsyncConnection.connect(frozen.primary.url, autocommit=True) as admin:
        with recorded() as events:
            async with open_engine(near) as engine, working(near, handlers.app):
                client = Client(engine, near)
                task_id = await client.submit("wait_and_write")
                await until(lambda: handlers.runs == 1, seconds=PATIENCE)
                await admin.execute("alter system set default_transaction_read_only = on")
                await admin.execute("select pg_reload_conf()")
                await until(lambda: _is_read_only(frozen), seconds=PATIENCE)
                handlers.go.set()
                await until(
                    lambda: handlers.refusals > 0 or told(events, "ledger.unreachable"),
                    seconds=PATIENCE,
                )
                await admin.execute("set default_transaction_read_only = off")
                await admin.execute("alter system reset default_transaction_read_only")
                await admin.execute("select pg_reload_conf()")
                await until(lambda: bool(settled(events)), seconds=3 * PATIENCE)
                task = await client.find(task_id)
    # A handler that has a connection is refused and handed back. One that waits for a connection
    # waits until the window is over.
    ending = (
        (Outcome.RELEASED, State.SCHEDULED)
        if handlers.refusals
        else (Outcome.SUCCEEDED, State.SUCCESS)
    )
    assert settled(events) == [ending]
    assert (task.state, task.retry_count) == (ending[1], 0)


async def _is_processing(conn: psycopg.AsyncConnection[object], task_id: str) -> bool:
    cursor = await conn.execute(
        "select 1 from leaseq.tasks where id = %s and state = 'PROCESSING'", [task_id]
    )
    return bool(await cursor.fetchall())


async def _is_read_only(pair: Pair) -> bool:
    async with await psycopg.AsyncConnection.connect(pair.primary.url, autocommit=True) as conn:
        row = await (await conn.execute("show default_transaction_read_only")).fetchone()
        return row == ("on",)
