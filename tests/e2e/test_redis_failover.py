"""A failover of Redis in which the old primary lives on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.model import Lane, State
from leaseq.observability.telemetry import recorded
from support.client import Client
from support.dispatch import KEYS
from support.processes import Services
from support.proxy import Proxy, ProxyTo
from support.servers import RedisPair, free_port

BODY = {"type": "note", "payload": {}}


@pytest.fixture
async def proxy(redis_pair: RedisPair, proxy_to: ProxyTo) -> Proxy:
    """The address of dispatch, which leads to the first server at first."""
    return await proxy_to(redis_pair.url(redis_pair.first))


@pytest.fixture
def config(config: Config, proxy: Proxy) -> Config:
    return replace(config, redis_url=proxy.url)


@pytest.mark.slow("a fleet through a failover of Redis")
async def test_every_process_goes_on_at_the_new_primary(
    services: Services,
    client: Client,
    redis_pair: RedisPair,
    proxy: Proxy,
    eventually: Callable[..., Any],
) -> None:
    pair, port = redis_pair, free_port()
    worker, reaper = await services.worker(), await services.reaper()
    api = await services.start("api", "--port", str(port))
    await api.hear("api.started")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
        first = (await http.post("/api/tasks", json=BODY)).json()["task_id"]
        napping = (
            await http.post("/api/tasks", json={"type": "nap", "payload": {"seconds": 2.0}})
        ).json()["task_id"]
        assert (await client.ended(first)).state is State.SUCCESS
        await worker.hear("task.claimed", task_id=napping)
        await asyncio.to_thread(pair.wait_for_copy, pair.second)
        # The address moves; the old primary lives on as a replica, and keeps its connections.
        await asyncio.to_thread(pair.promote, pair.second)
        await asyncio.to_thread(pair.follow, pair.first, pair.second)
        proxy.lead_to(pair.url(pair.second))
        pushes = len(api.heard("delivery.pushed"))
        after: list[str] = []
        deadline = time.monotonic() + 60
        while len(api.heard("delivery.pushed")) == pushes:
            assert time.monotonic() < deadline, "the API pushes to a replica for ever"
            after.append((await http.post("/api/tasks", json=BODY)).json()["task_id"])
            await asyncio.sleep(0.2)
        assert len(api.heard("push.failed")) <= 3, "the old primary is left with the first refusal"
        assert {task.state for task in await client.all_ended(after)} == {State.SUCCESS}
        retry = (
            await http.post("/api/tasks", json={"type": "flaky", "payload": {"failures": 1}})
        ).json()["task_id"]
        assert (await client.ended(retry)).state is State.SUCCESS, "the reaper promotes"
        assert (await client.ended(napping)).attempt == 1, "live work is not run twice"
    renewed = len(worker.heard("lease.renewed"))
    await worker.hear("lease.renewed", count=renewed + 2)
    assert not reaper.heard("worker.reaped")
    assert len(worker.heard("child.started")) == 1, "nothing was restarted"

    def names() -> set[str]:
        with pair.client(pair.second) as there:
            return {str(each["name"]) for each in there.client_list()}

    async def everybody() -> bool:
        found = await asyncio.to_thread(names)
        return {"leaseq-api", "leaseq-reaper", "leaseq-supervisor"} <= found and len(
            [n for n in found if "leaseq" in n]
        ) >= 5

    await eventually(everybody)


@pytest.mark.slow("a fleet through a failover of Redis")
async def test_deliveries_taken_by_the_old_primary_are_delivered_again(
    services: Services,
    client: Client,
    redis_pair: RedisPair,
    proxy: Proxy,
    eventually: Callable[..., Any],
) -> None:
    """A planned failover: until the old primary is demoted, all clients write to it, and all of
    that is lost."""
    pair = redis_pair
    reaper = await services.reaper()
    await client.submit("note")
    await client.engine.pusher.aclose()
    await asyncio.to_thread(pair.wait_for_copy, pair.second)
    with pair.client(pair.second) as new, pair.client(pair.first) as old:
        # the reaper has looked at this server
        await eventually(lambda: asyncio.to_thread(old.exists, KEYS.data()))
        await asyncio.to_thread(pair.promote, pair.second)
        # Also a connection that is made again reaches the old primary, until the address moves.
        lost, lane = [], KEYS.ready("default", Lane.NORMAL)
        with recorded() as events:
            for _ in range(10):  # a push that failed is not repeated
                lost += await client.submit_many("note", 20)
                await client.engine.pusher.aclose()
                if old.llen(lane) > 1:
                    break
        assert old.llen(lane) > 1, f"no push reached the old primary: {events}"
        assert new.llen(lane) == 1
        proxy.lead_to(pair.url(pair.second))
        await client.rows("update leaseq.tasks set run_at = run_at - interval '1 hour'")
        await asyncio.to_thread(pair.follow, pair.first, pair.second)
    await services.worker()
    assert {task.state for task in await client.all_ended(lost, timeout=60)} == {State.SUCCESS}
    assert await client.doubled() == []
    # it noticed that dispatch is another server, and suspects no worker for a lease
    await reaper.hear("reaper.quieted")
