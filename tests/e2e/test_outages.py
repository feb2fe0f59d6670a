"""Clients and tasks while a store is wiped, stopped or restarted (G1, G3, G6)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import redis.asyncio
from litestar.testing import AsyncTestClient
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.embedded import PostgresServer, ValkeyServer
from leaseq.errors import ServerUnreachable
from leaseq.model import State
from leaseq.operations.open_engine import open_engine
from leaseq_api.app import create_app
from support.client import EFFECTS, Client
from support.processes import Services
from support.servers import at, prepare

# The limits that are promised stand in the tests. To start servers and to drain thousands of tasks
# takes a busy machine longer.
TASKS = 5000


@pytest.fixture
def config(config: Config) -> Config:
    return replace(config, lease_seconds=3.0, heartbeat_seconds=0.5, concurrency=50)


@pytest.mark.slow("five thousand tasks")
async def test_flushall_in_the_middle_of_five_thousand(services: Services, client: Client) -> None:
    """None lost, none committed twice, and running tasks are not run a second time."""
    await services.reaper()
    worker = await services.worker("--concurrency", "60")
    long = await client.submit_many("hold", 10, seconds=4)
    await worker.hear("attempt.started", count=len(long))
    ids = await client.submit_many("note", TASKS)
    await worker.hear("attempt.settled", count=500)
    assert client.config.redis_url is not None
    async with redis.asyncio.Redis.from_url(client.config.redis_url) as wiper:
        await wiper.flushall()
    tasks = await client.all_ended([*long, *ids], timeout=150)
    assert {task.state for task in tasks} == {State.SUCCESS}
    assert await client.doubled() == []
    assert len(await client.rows("select 1 from effects")) == TASKS + len(long)
    assert {task.attempt for task in tasks[: len(long)]} == {1}, "running work was left alone"


@pytest.fixture
async def own(
    config: Config, own_postgres: PostgresServer, own_valkey: ValkeyServer
) -> AsyncIterator[Client]:
    """A client on servers of the test's own."""
    await prepare(own_postgres.url)
    mine = replace(at(config, own_postgres.url), redis_url=own_valkey.url)
    async with open_engine(mine, name="leaseq test client") as engine:
        client = Client(engine, mine)
        await client.rows(EFFECTS)
        yield client


@pytest.mark.slow("an outage of twenty seconds")
async def test_valkey_away_for_twenty_seconds(own: Client, own_valkey: ValkeyServer) -> None:
    """Submissions still get 202, and finish after its return; what ran goes on and is not run
    twice."""
    services = Services(own.config)
    try:
        await services.reaper()
        worker = await services.worker()
        long = await own.submit("hold", seconds=21)
        await worker.hear("attempt.started")
        own_valkey.kill()
        stopped = time.monotonic()
        async with AsyncTestClient(create_app(own.config), base_url="http://127.0.0.1") as http:
            ids = []
            for n in range(40):
                answer = await http.post("/api/tasks", json={"type": "note", "payload": {"n": n}})
                assert answer.status_code == 202
                ids.append(answer.json()["task_id"])
                await asyncio.sleep(max(0, stopped + (n + 1) * 0.5 - time.monotonic()))
        own_valkey.start()
        tasks = await own.all_ended(ids)
        assert {(task.state, task.attempt) for task in tasks} == {(State.SUCCESS, 1)}
        ran = await own.ended(long)
        assert (ran.state, ran.attempt) == (State.SUCCESS, 1), (
            "longer than a lease without Redis, and still its own"
        )
        assert await own.doubled() == []
    finally:
        await services.destroy()


@pytest.mark.slow("hundreds of tasks through a restart")
async def test_postgres_restarted_in_the_middle(own: Client, own_postgres: PostgresServer) -> None:
    """Immediate shutdown under load: everything recovers within five seconds of its return."""
    services = Services(own.config)
    try:
        await services.reaper()
        worker = await services.worker("--concurrency", "60")
        ids = await own.submit_many("note", 2000)
        holding = await own.submit_many("hold", 5, seconds=0.5)
        await worker.hear("attempt.settled", count=200)
        own_postgres.stop("immediate")
        own_postgres.start()
        returned = time.monotonic()
        fresh = await _submit_soon(own, deadline=returned + 5)
        tasks = await own.all_ended([fresh], timeout=max(0.1, returned + 5 - time.monotonic()))
        assert tasks[0].state is State.SUCCESS
        tasks = await own.all_ended([*ids, *holding])
        assert {task.state for task in tasks} == {State.SUCCESS}
        assert {task.retry_count for task in tasks} == {0}, "an outage costs no retry"
        assert await own.doubled() == []
        assert len(await own.rows("select 1 from effects")) == len(ids) + len(holding) + 1
        assert worker.process.returncode is None
        assert not worker.heard("child.died")
    finally:
        await services.destroy()


async def _submit_soon(client: Client, *, deadline: float) -> str:
    """Submit as a client does who tries again until the deadline."""
    while True:
        try:
            return await client.submit("note", options={"priority": "high"})
        except ServerUnreachable:
            assert time.monotonic() < deadline, "submissions were not taken again in time"
            await asyncio.sleep(0.05)
