"""The tasks of a worker that has lost one of the two stores."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.model import State
from leaseq.supervisor.heartbeat import SILENT_LEASES
from leaseq_chaos.pace import Pace
from support.client import Client
from support.processes import Services
from support.proxy import Proxy, ProxyTo
from support.servers import at

LEASE = 2.0


@pytest.fixture
def config(config: Config) -> Config:
    return replace(
        config,
        lease_seconds=LEASE,
        heartbeat_seconds=0.3,
        statement_timeout_seconds=2,
        grace_seconds=0,
    )


@pytest.fixture
async def postgres(config: Config, proxy_to: ProxyTo) -> Proxy:
    assert config.postgres_url is not None
    return await proxy_to(config.postgres_url)


@pytest.fixture
async def valkey(config: Config, proxy_to: ProxyTo) -> Proxy:
    assert config.redis_url is not None
    return await proxy_to(config.redis_url)


@pytest.fixture
async def far(config: Config, postgres: Proxy, valkey: Proxy) -> AsyncIterator[Services]:
    """Services behind both proxies."""
    services = Services(replace(at(config, postgres.url), redis_url=valkey.url))
    yield services
    await services.destroy()


@pytest.mark.slow("lets leases lapse in an outage")
async def test_a_worker_that_lost_postgres_alone_gives_its_tasks_up(
    services: Services, far: Services, client: Client, postgres: Proxy, pace: Pace
) -> None:
    """It renews in dispatch for three leases, in the hope of Postgres; then it lets go, and
    stops."""
    reaper = await services.reaper()
    cut_off = await far.worker()
    ids = [await client.submit("hold", seconds=60), await client.submit("nap", seconds=60)]
    await cut_off.hear("attempt.started", count=2)
    postgres.freeze()
    frozen_at = time.monotonic()
    heir = await services.worker()
    await heir.hear("attempt.started", count=2, attempt=2)
    took = time.monotonic() - frozen_at
    assert SILENT_LEASES * LEASE < took < ((SILENT_LEASES + 1) * LEASE + 2) * pace.slowness
    assert len(await reaper.hear("worker.reaped")) == 1
    await cut_off.hear("worker.fenced")
    postgres.thaw()
    await cut_off.hear("attempt.fenced", count=2, attempt=1)
    assert {task.worker_id for task in await client.running(ids)} == {
        heir.heard("worker.opened")[0]["worker_id"]
    }
    assert await client.doubled() == []
    await cut_off.hear("worker.opened", count=2)


@pytest.mark.slow("lets leases lapse in an outage")
async def test_a_worker_that_lost_redis_alone_goes_on(
    services: Services, far: Services, client: Client, valkey: Proxy
) -> None:
    """A frozen connection answers nothing and ends nothing; the ledger hears of it all the same, in
    time."""
    reaper = await services.reaper()
    cut_off = await far.worker()
    task_id = await client.submit("hold", seconds=4 * LEASE)
    await cut_off.hear("attempt.started")
    valkey.freeze()
    task = await client.ended(task_id)
    assert (task.state, task.attempt) == (State.SUCCESS, 1)
    assert not reaper.heard("worker.reaped")
    assert not cut_off.heard("worker.fenced")
    valkey.thaw()
    assert (await client.ended(await client.submit("note"))).state is State.SUCCESS


@pytest.mark.slow("resets connections for ten seconds")
async def test_both_connections_reset_again_and_again(
    services: Services, far: Services, client: Client, postgres: Proxy, valkey: Proxy
) -> None:
    """No reply meets the wrong question, nothing is lost, nothing is committed twice."""
    await services.reaper()
    await far.worker()
    ids = await client.submit_many("note", 300, n=1)
    for _ in range(12):
        await asyncio.sleep(0.15)  # the rhythm of the storm
        postgres.cut()
        valkey.cut()
    tasks = await client.all_ended(ids)
    assert {task.state for task in tasks} == {State.SUCCESS}
    assert {task.retry_count for task in tasks} == {0}
    assert await client.doubled() == []
    assert len(await client.rows("select 1 from effects")) == len(ids)
