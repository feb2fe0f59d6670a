"""A settle that an asynchronous failover has lost."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from msgspec.structs import replace

from leaseq import Leaseq
from leaseq.config import Config
from leaseq.model import State
from leaseq.observability.telemetry import recorded
from leaseq.operations.open_engine import open_engine
from leaseq_reaper.sidecar import run
from support.client import Client
from support.processes import PATIENCE
from support.proxy import ProxyTo
from support.servers import Pair, at
from support.worker import until, working

# Two servers of its own.
STATE = "select state from leaseq.tasks where id = %s"


@pytest.mark.slow("a failover and two leases")
async def test_the_task_runs_again_and_ends(config: Config, pair: Pair, proxy_to: ProxyTo) -> None:
    proxy = await proxy_to(pair.primary.url)
    far = replace(at(config, proxy.url), lease_seconds=600)  # nothing beats for this worker
    app, go, stop, runs = Leaseq(), asyncio.Event(), asyncio.Event(), 0

    @app.task
    async def wait() -> None:
        nonlocal runs
        runs += 1
        await go.wait()

    with recorded() as events:
        async with open_engine(far) as engine, working(far, app):
            reaping = asyncio.create_task(run(far, stop))
            task_id = await Client(engine, far).submit("wait")
            async with await psycopg.AsyncConnection.connect(
                pair.standby.url, autocommit=True
            ) as standby:
                await until(lambda: _is(standby, task_id, State.PROCESSING), seconds=PATIENCE)
                await standby.execute("alter system set primary_conninfo = ''")
                await standby.execute("select pg_reload_conf()")
                await until(lambda: _receives_nothing(standby), seconds=PATIENCE)
            go.set()
            await until(
                lambda: any(event.name == "attempt.settled" for event in events), seconds=PATIENCE
            )
            pair.primary.kill()
            await asyncio.to_thread(pair.standby.promote)
            proxy.lead_to(pair.standby.url)
            async with await psycopg.AsyncConnection.connect(
                pair.standby.url, autocommit=True
            ) as promoted:
                assert await _is(promoted, task_id, State.PROCESSING), (
                    "the failover has lost nothing"
                )
                await until(lambda: _is(promoted, task_id, State.SUCCESS), seconds=6 * PATIENCE)
            stop.set()
            await reaping
    assert runs == 2


async def _is(
    conn: psycopg.AsyncConnection[tuple[object, ...]], task_id: str, state: State
) -> bool:
    found = await (await conn.execute(STATE, [task_id])).fetchall()
    return found == [(str(state),)]


async def _receives_nothing(conn: psycopg.AsyncConnection[tuple[object, ...]]) -> bool:
    return not await (await conn.execute("select 1 from pg_stat_wal_receiver")).fetchall()
