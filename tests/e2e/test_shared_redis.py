"""Several deployments, each with a ledger of its own, on one Redis."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import pytest
import redis.asyncio

from fix_client import Client
from fix_processes import Services
from leaseq.config import Config
from leaseq.engine.engine import open_engine
from leaseq.model import State

EFFECTS = "create table effects (task_id text, attempt int, pid int, at timestamptz default clock_timestamp())"


class Deployment:
    """Processes, a client and the configuration of one deployment."""

    def __init__(self, config: Config, client: Client) -> None:
        self.config = config
        self.client = client
        self.services = Services(config)


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
async def deployments(config: Config, other_postgres_url: str) -> AsyncIterator[list[Deployment]]:
    """Two deployments that share a Redis, each with a prefix of its own."""
    configs = [
        msgspec.structs.replace(config, redis_prefix="shop"),
        msgspec.structs.replace(config, redis_prefix="shop:test", postgres_url=other_postgres_url),
    ]
    async with AsyncExitStack() as stack:
        made = []
        for each in configs:
            client = Client(await stack.enter_async_context(open_engine(each, name="leaseq test client")), each)
            await client.rows(EFFECTS)
            made.append(Deployment(each, client))
        yield made
        for deployment in made:
            await deployment.services.destroy()


async def test_two_deployments_with_prefixes_share_one_redis(
    deployments: list[Deployment], store: redis.asyncio.Redis, eventually: Callable[..., Any]
) -> None:
    workers = [await each.services.worker() for each in deployments]
    reapers = [await each.services.reaper() for each in deployments]

    async def named() -> bool:
        names = {client["name"] for client in await store.client_list()}
        return {"shop-reaper", "shop:test-reaper", "shop-supervisor", "shop:test-supervisor"} <= names

    await eventually(named)
    napping = [await each.client.submit("nap", seconds=1.5) for each in deployments]
    for each, worker, task_id in zip(deployments, workers, napping, strict=True):
        notes = await each.client.submit_many("note", 20)
        assert {task.state for task in await each.client.all_ended(notes)} == {State.SUCCESS}
        await worker.hear("task.claimed", task_id=task_id)
    # One deployment is wiped, by its prefix alone; then a worker of it dies.
    first, other = deployments
    async for key in store.scan_iter("shop:{*"):
        await store.delete(key)
    workers[0].signal(signal.SIGKILL, children=True)
    await first.services.worker()
    for each, task_id in zip(deployments, napping, strict=True):
        assert (await each.client.ended(task_id)).state is State.SUCCESS
    assert (await other.client.find(napping[1])).attempt == 1, "the other deployment has lost nothing"
    assert not any(service.heard("worker.reaped") for service in (workers[1], reapers[1]))
    assert not any(service.heard("delivery.parked") for service in (*workers, *reapers))
    keys = {key.decode() async for key in store.scan_iter("*")}
    assert all(key.startswith(("shop:{", "shop:test:{")) for key in keys), keys


async def test_one_prefix_is_one_deployment(config: Config, client: Client, services: Services) -> None:
    """Processes that differ in nothing but the prefix do not see each other."""
    await services.worker(LEASEQ_REDIS_PREFIX="elsewhere")
    task_id = await client.submit("note")
    elsewhere = msgspec.structs.replace(config, redis_prefix="elsewhere")
    async with open_engine(elsewhere, name="leaseq test client") as engine:
        assert await engine.stores.survey.locate("default", task_id) == ([], [])
    lanes, _ = await client.engine.stores.survey.locate("default", task_id)
    assert lanes == ["normal"]
