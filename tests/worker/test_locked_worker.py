"""A locked worker row delays one worker process and no other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from leaseq import Leaseq
from leaseq.config import Config
from leaseq.model import Lane, State
from leaseq.observability.telemetry import recorded
from leaseq.operations.open_engine import open_engine
from leaseq.supervisor.heartbeat import SILENT_LEASES, Heartbeat
from support.client import Client
from support.dispatch import KEYS
from support.processes import Services
from support.reaper import named
from support.servers import admin_url
from support.worker import QUEUE, until, working

LOCKS = {
    "workers": "select id from leaseq.workers where id = %s for update",
    "heartbeats": "select worker_id from leaseq.heartbeats where worker_id = %s for update",
}
# So that a lock is waited for one second, and not five.
BRIEF = {"statement_timeout_seconds": 2.0}


@asynccontextmanager
async def locking(config: Config, table: str, worker_id: str) -> AsyncIterator[None]:
    """A session of a person has locked the row of this worker until the block ends."""
    async with await psycopg.AsyncConnection.connect(
        admin_url(config), application_name="psql"
    ) as conn:
        assert await (await conn.execute(LOCKS[table].encode(), [worker_id])).fetchall()
        yield


@pytest.mark.parametrize("table", LOCKS)
async def test_a_beat_goes_around_a_locked_row(config: Config, client: Client, table: str) -> None:
    quick = replace(config, lease_seconds=1.0, heartbeat_seconds=0.25, **BRIEF)
    async with open_engine(quick, name="leaseq test beat") as engine:
        heartbeat = Heartbeat(quick, engine.stores, [QUEUE])
        workers = ["locked", "free", "closed"]
        for worker_id in workers:
            await engine.stores.workers.open_worker(
                worker_id, host="here", pid=1, queues=[QUEUE], version="0"
            )
            await heartbeat.open(worker_id)
        await heartbeat.beat(workers)
        loop = asyncio.get_running_loop()
        async with locking(config, table, "locked"):
            until_silent = loop.time() + (SILENT_LEASES + 2) * quick.lease_seconds
            while loop.time() < until_silent:
                verdicts = await heartbeat.beat(workers)
                assert [verdicts[worker_id].lease_lost for worker_id in workers] == [None] * 3
                await asyncio.sleep(quick.heartbeat_seconds)
            await engine.stores.workers.close_worker("closed", reason="tested")

            async def is_told() -> bool:
                verdict = (await heartbeat.beat(workers)).get("closed")
                return verdict is not None and verdict.lease_lost is not None

            await until(is_told, seconds=60)
        assert [
            bool(verdict.renewed_at)
            for _, verdict in sorted((await heartbeat.beat(workers[:2])).items())
        ] == [True, True]
        await heartbeat.aclose()


async def test_a_worker_whose_own_row_is_locked_hands_its_deliveries_back(
    config: Config, client: Client
) -> None:
    app = Leaseq()

    @app.task
    async def quick() -> None:
        """Returns."""

    redis: Any = client.engine.stores.lists._client
    with recorded() as events:
        async with (
            working(replace(config, **BRIEF), app) as worker,
            locking(config, "workers", worker.worker_id),
        ):
            ids = [await client.submit("quick") for _ in range(3)]
            await until(lambda: worker.is_barred, seconds=60)

            async def are_back() -> bool:
                return len(await redis.lrange(KEYS.ready(QUEUE, Lane.NORMAL), 0, -1)) == len(ids)

            await until(are_back, seconds=60)
            await until(lambda: worker.slots.running == 0, seconds=60)
    (told,) = named(events, "worker.locked")
    assert (told["verb"], told["worker_id"]) == ("claim", worker.worker_id)
    async with working(config, app):
        assert {task.state for task in await client.all_ended(ids)} == {State.SUCCESS}


async def test_work_goes_on_beside_a_locked_worker_and_in_a_new_process(
    services: Services, client: Client
) -> None:
    services.config = replace(services.config, **BRIEF)
    worker = await services.start(
        "worker", "apps.rogue:app", "--processes", "2", "--concurrency", "2"
    )
    opened = await worker.hear("worker.opened", count=2)
    beside = [
        await client.submit("nap", seconds=4 * services.config.lease_seconds) for _ in range(2)
    ]
    await worker.hear("attempt.started", count=2)
    async with locking(client.config, "workers", opened[0]["worker_id"]):
        ids = [await client.submit("nap", seconds=0)]
        while not worker.heard("worker.locked"):
            ids.append(await client.submit("nap", seconds=0))
            await asyncio.sleep(0.2)
        await worker.hear("worker.opened", count=3)
        assert {(task.state, task.attempt) for task in await client.all_ended(ids, timeout=60)} == {
            (State.SUCCESS, 1)
        }
        for task in await client.all_ended(beside, timeout=60):
            assert (task.state, task.attempt, task.loss_count) == (State.SUCCESS, 1, 0)
    assert not worker.heard("worker.fenced")
