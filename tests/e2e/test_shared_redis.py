"""Several deployments, each with a ledger of its own, on one Redis."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import msgspec
import psycopg
import pytest
import redis.asyncio

from leaseq import Leaseq
from leaseq.codec import new_task_id
from leaseq.config import Config
from leaseq.embedded import ValkeyServer
from leaseq.errors import DispatchForeign, ServerUnreachable
from leaseq.model import Lane, State
from leaseq.operations.open_engine import open_engine
from leaseq.server_checks.startup import inspect_servers
from leaseq_reaper.sidecar import run
from support.client import Client
from support.dispatch import KEYS
from support.processes import Services
from support.proxy import ProxyTo
from support.servers import at

EFFECTS = "create table public.effects (task_id text, attempt int, pid int, at timestamptz default clock_timestamp())"


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
        msgspec.structs.replace(at(config, other_postgres_url), redis_prefix="shop:test"),
    ]
    async with AsyncExitStack() as stack:
        made = []
        for each in configs:
            client = Client(
                await stack.enter_async_context(open_engine(each, name="leaseq test client")), each
            )
            await client.rows(EFFECTS)
            made.append(Deployment(each, client))
        yield made
        for deployment in made:
            await deployment.services.destroy()


@pytest.mark.slow("two fleets")
async def test_two_deployments_with_prefixes_share_one_redis(
    deployments: list[Deployment], store: redis.asyncio.Redis, eventually: Callable[..., Any]
) -> None:
    workers = [await each.services.worker() for each in deployments]
    reapers = [await each.services.reaper() for each in deployments]

    async def named() -> bool:
        names = {client["name"] for client in await store.client_list()}
        return {
            "shop-reaper",
            "shop:test-reaper",
            "shop-supervisor",
            "shop:test-supervisor",
        } <= names

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
    assert (await other.client.find(napping[1])).attempt == 1, (
        "the other deployment has lost nothing"
    )
    assert not any(service.heard("worker.reaped") for service in (workers[1], reapers[1]))
    assert not any(service.heard("delivery.parked") for service in (*workers, *reapers))
    keys = {key.decode() async for key in store.scan_iter("*")}
    assert all(key.startswith("shop:") for key in keys), keys


@pytest.fixture
def other(config: Config, other_postgres_url: str) -> Config:
    """A second deployment that says nothing of a prefix."""
    return at(config, other_postgres_url)


@pytest.fixture
async def ledgers(client: Client, other: Config) -> list[str]:
    """The identities of the two ledgers."""
    async with await psycopg.AsyncConnection.connect(str(other.postgres_url)) as conn:
        ((there,),) = await (await conn.execute("select id::text from leaseq.ledger")).fetchall()
    ((here,),) = await client.rows("select id::text from leaseq.ledger")
    assert here != there
    return [here, there]


@pytest.mark.parametrize(
    "args",
    [["api", "--port", "0"], ["worker", "apps.probe:app"], ["reaper"], ["submit", "note"]],
    ids="_".join,
)
async def test_a_second_deployment_without_a_prefix_refuses_to_start(
    args: list[str], ledgers: list[str], other: Config
) -> None:
    """The first one has no process but a client."""
    service = await Services(other).start(*args)
    try:
        assert await service.ended(timeout=60) != 0
    finally:
        await service.destroy()
    said = service.other[-1]
    assert all(
        name in said
        for name in [*ledgers, "the prefix leaseq", "LEASEQ_REDIS_PREFIX", "LEASEQ_REDIS_URL"]
    ), service.other
    assert not any("Traceback" in line for line in service.other)


async def test_a_python_client_of_another_ledger_does_not_open(
    ledgers: list[str], other: Config
) -> None:
    with pytest.raises(DispatchForeign, match=ledgers[0]):
        async with Leaseq(config=other):
            pass
    async with Leaseq(config=msgspec.structs.replace(other, redis_prefix="another")):
        pass


async def test_a_reaper_that_meets_another_ledger_as_it_connects_does_not_wait_for_it_to_go(
    ledgers: list[str], other: Config
) -> None:
    """The check before its start has seen an empty Redis; the first deployment came in between."""
    with pytest.raises(DispatchForeign, match=ledgers[0]):
        await run(other, asyncio.Event())


async def test_check_tells_of_another_ledger(ledgers: list[str], other: Config) -> None:
    report = await inspect_servers(other)
    (finding,) = [each for each in report.findings if each.fatal]
    assert finding.about == "redis"
    assert all(name in finding.message for name in [*ledgers, "LEASEQ_REDIS_PREFIX"])


async def test_ledger_mark_is_set_again_after_flushall(
    client: Client, store: redis.asyncio.Redis, eventually: Callable[..., Any]
) -> None:
    ((mine,),) = await client.rows("select id::text from leaseq.ledger")
    assert await store.hget("leaseq:ledger", "ledger") == mine.encode()
    await store.flushall()

    async def known() -> bool:
        return bool(await store.hget("leaseq:ledger", "ledger") == mine.encode())

    await eventually(known)


async def test_of_two_that_start_on_an_empty_redis_at_once_one_is_refused(
    config: Config, other: Config, store: redis.asyncio.Redis
) -> None:
    for _ in range(5):
        await store.flushall()

        async def start(each: Config) -> bool:
            try:
                async with open_engine(each):
                    return True
            except DispatchForeign:
                return False

        answers = await asyncio.gather(*(start(each) for each in (config, other, other, config)))
        assert sorted(answers) == [False, False, True, True]
        assert answers[0] == answers[3]


@pytest.mark.slow("a fleet, and another ledger")
async def test_a_running_deployment_leaves_a_prefix_that_another_ledger_took(
    services: Services, client: Client, store: redis.asyncio.Redis, ledgers: list[str]
) -> None:
    """Everything was flushed, and another deployment was there first: nothing of it is reaped,
    parked or written over."""
    worker, reaper = await services.worker(), await services.reaper()
    running = await client.submit("nap", seconds=3.0)
    await worker.hear("task.claimed", task_id=running)
    foreign_task, foreign_worker = new_task_id(), "f" * 32
    keys = KEYS
    pipe = store.pipeline()
    _ = [
        pipe.flushall(),
        pipe.hset(keys.ledger(), "ledger", ledgers[1]),
        pipe.zadd(keys.leases("default"), {foreign_worker: 1}),
        pipe.hset(keys.beats("default"), foreign_worker, "1"),
        pipe.rpush(keys.processing("default", foreign_worker), foreign_task),
    ]
    await pipe.execute()
    for service in (worker, reaper):
        (said, *_) = await service.hear("dispatch.foreign")
        assert (said["found"], said["ledger"]) == (ledgers[1], ledgers[0])
    # BLMOVE may have been under way: it does not ask for the owner. A value that it moves is left
    # where it is.
    await store.rpush(keys.ready("default", Lane.NORMAL), new_task_id(), new_task_id())
    assert (await client.ended(running)).state is State.SUCCESS, "what runs needs no dispatch"
    waiting = await client.submit("note")
    with pytest.raises(ServerUnreachable, match="belongs to ledger"):
        await client.engine.stores.lists.depths("default")
    assert await store.lrange(keys.processing("default", foreign_worker), 0, -1) == [
        foreign_task.encode()
    ]
    assert await store.zrange(keys.leases("default"), 0, -1) == [foreign_worker.encode()]
    assert not await store.exists(keys.parked("default"))
    assert not worker.heard("delivery.parked")
    assert not reaper.heard("worker.reaped")
    # The other one goes: no process needs a restart.
    await store.flushall()
    assert (await client.ended(waiting, timeout=60)).state is State.SUCCESS
    assert len(worker.heard("child.started")) == 1


async def test_a_failover_to_the_redis_of_another_deployment_is_noticed(
    config: Config, other: Config, ledgers: list[str], own_valkey: ValkeyServer, proxy_to: ProxyTo
) -> None:
    proxy = await proxy_to(str(config.redis_url))
    password = urlsplit(str(config.redis_url)).password or ""
    async with redis.asyncio.Redis.from_url(own_valkey.url) as there:
        await there.config_set("requirepass", password)  # nothing but the identity keeps us out
    own_url = f"redis://:{password}@127.0.0.1:{own_valkey.port}/0"
    async with (
        open_engine(msgspec.structs.replace(other, redis_url=own_url)),
        open_engine(msgspec.structs.replace(config, redis_url=proxy.url)) as engine,
    ):
        await engine.stores.dispatcher.push("default", [new_task_id()])
        proxy.lead_to(own_url)
        proxy.cut()
        with pytest.raises(ServerUnreachable):
            await engine.stores.dispatcher.push("default", [new_task_id()])
        for _ in range(2):
            with pytest.raises(DispatchForeign, match=ledgers[1]):
                await engine.stores.dispatcher.push("default", [new_task_id()])
        async with redis.asyncio.Redis.from_url(own_url) as there:
            assert await there.llen(KEYS.ready("default", Lane.NORMAL)) == 0


async def test_one_prefix_is_one_deployment(
    config: Config, client: Client, services: Services
) -> None:
    """Processes that differ in nothing but the prefix do not see each other."""
    await services.worker(LEASEQ_REDIS_PREFIX="elsewhere")
    task_id = await client.submit("note")
    elsewhere = msgspec.structs.replace(config, redis_prefix="elsewhere")
    async with open_engine(elsewhere, name="leaseq test client") as engine:
        lists = engine.stores.lists
        assert await lists.position("default", Lane.NORMAL, task_id) is None
    assert await client.engine.stores.lists.position("default", Lane.NORMAL, task_id) == (0, 0)
