"""A submission is acknowledged only if it is recorded, in every outage."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.embedded import PostgresServer, ValkeyServer
from leaseq.ledger.schema import migrate
from leaseq.observability.telemetry import recorded
from leaseq_api import service
from support.api import Api, open_api, problem
from support.proxy import READY_FOR_QUERY, ProxyTo

BODY = {"type": "add", "payload": {"n": 1}}
KEY = {"Idempotency-Key": "order-1"}
# so that the statement is prepared, and the next exchange is the insert itself
OTHER_KEY = {"Idempotency-Key": "another"}


async def count(url: str) -> int:
    async with await psycopg.AsyncConnection.connect(url) as conn:
        cursor = await conn.execute("select count(*) from leaseq.tasks")
        return int((await cursor.fetchall())[0][0])


@pytest.fixture
async def migrated_postgres(own_postgres: PostgresServer) -> PostgresServer:
    await migrate(own_postgres.url)
    return own_postgres


async def test_without_postgres_nothing_is_acknowledged_and_with_it_all_is_well_again(
    config: Config, migrated_postgres: PostgresServer
) -> None:
    server = migrated_postgres
    async with open_api(
        replace(config, postgres_url=server.url, statement_timeout_seconds=2)
    ) as api:
        assert await api.submitted(BODY)
        await asyncio.to_thread(server.stop, "immediate")
        with recorded() as events:
            for path in ("/api/tasks", "/api/queues", "/api/workers", "/api/operations"):
                problem(await api.client.get(path), "server_unreachable")
            refused = problem(await api.submit(BODY, **KEY), "server_unreachable")
        assert "127.0.0.1" not in refused["detail"]
        assert not [event for event in events if event.name in ("request.failed", "task.submitted")]
        assert problem(await api.client.get("/health/ready"), "not_ready")["postgres"] == "away"
        assert await api.get("/health/live") == {"live": True}
        await asyncio.to_thread(server.start)
        await until_ready(api)
        assert await count(server.url) == 1, "what was answered with 503 was not stored"
        assert await api.submitted(BODY, **KEY)
        assert await count(server.url) == 2


async def test_a_quota_goes_through_an_outage_of_postgres(
    config: Config, migrated_postgres: PostgresServer
) -> None:
    """No submission is accepted without the ledger, and the list is as it was behind a crash."""
    server = migrated_postgres
    async with open_api(
        replace(config, postgres_url=server.url, statement_timeout_seconds=2)
    ) as api:
        await api.service.engine.access.limit_tenant("default", {"unfinished": 2})
        await api.service.quotas.look()
        assert await api.submitted(BODY, **KEY)
        await asyncio.to_thread(server.stop, "immediate")
        problem(await api.submit(BODY), "server_unreachable")
        # Whether that one is recorded is not known, so no other is refused because of it.
        for _ in range(10):
            problem(await api.submit(BODY), "server_unreachable")
        await asyncio.to_thread(server.start)
        await until_ready(api)
        await api.service.quotas.look()
        assert await api.submitted(BODY)
        problem(await api.submit(BODY), "unfinished_limited")
        assert await api.submitted(BODY, **KEY)
        assert await count(server.url) == 2


async def until_ready(api: Api) -> None:
    """A client's way to notice the end of an outage: ask again, as Retry-After says, only
    sooner."""
    async with asyncio.timeout(60):
        while (await api.client.get("/health/ready")).status_code != 200:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.05)


async def test_a_lost_reply_is_never_a_second_task(
    config: Config, proxy_to: ProxyTo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Postgres committed, the answer is lost and no new connection comes through: 503, and the key
    finds the task."""
    monkeypatch.setattr(service, "POOL_SIZE", 1)
    assert config.postgres_url is not None
    proxy = await proxy_to(config.postgres_url)
    async with open_api(
        replace(config, postgres_url=proxy.url, statement_timeout_seconds=2)
    ) as api:
        await api.submitted(BODY, **OTHER_KEY)
        trap = proxy.lose_reply(b"order-1", until=READY_FOR_QUERY)
        proxy.refusing = True
        problem(await api.submit(BODY, **KEY), "server_unreachable")
        assert trap.sprung.is_set()
        assert await count(config.postgres_url) == 2, "it was committed, but nobody was told"
        proxy.refusing = False
        await until_ready(api)
        answer = await api.submit(BODY, **KEY)
        assert answer.status_code == 202
        assert answer.headers["idempotent-replayed"] == "true"
        assert await count(config.postgres_url) == 2


async def test_a_lost_reply_that_can_be_asked_for_again_is_a_202(
    config: Config, proxy_to: ProxyTo
) -> None:
    assert config.postgres_url is not None
    proxy = await proxy_to(config.postgres_url)
    async with open_api(replace(config, postgres_url=proxy.url)) as api:
        await api.submitted(BODY, **OTHER_KEY)
        trap = proxy.lose_reply(b"order-1", until=READY_FOR_QUERY)
        answer = await api.submit(BODY, **KEY)
        assert trap.sprung.is_set()
        assert answer.status_code == 202
        assert "idempotent-replayed" not in answer.headers
        assert await count(config.postgres_url) == 2


async def test_a_frozen_postgres_is_a_503_in_time(config: Config, proxy_to: ProxyTo) -> None:
    assert config.postgres_url is not None
    proxy = await proxy_to(config.postgres_url)
    async with open_api(
        replace(config, postgres_url=proxy.url, statement_timeout_seconds=2)
    ) as api:
        proxy.freeze()
        async with asyncio.timeout(30):
            submitting = asyncio.create_task(api.submit(BODY))
            assert problem(await api.client.get("/health/ready"), "not_ready")["postgres"] == "away"
            problem(await submitting, "server_unreachable")
        proxy.thaw()


async def test_without_redis_tasks_are_taken_all_the_same(
    config: Config, own_valkey: ValkeyServer
) -> None:
    assert config.postgres_url is not None
    async with open_api(replace(config, redis_url=own_valkey.url)) as api:
        await asyncio.to_thread(own_valkey.kill)
        task_id = await api.submitted(BODY, **KEY)
        assert (await api.submit(BODY, **KEY)).json()["task_id"] == task_id
        assert (await api.get(f"/api/tasks/{task_id}"))["state"] == "PENDING"
        (queue,) = (await api.get("/api/queues"))["queues"]
        assert queue["depths"] is None
        assert await api.get("/health/ready") == {"ready": True, "postgres": "up", "redis": "away"}
        assert (await api.client.post("/api/queues/default/pause")).json()["paused"] is True
        assert await count(config.postgres_url) == 1


async def test_frozen_redis_delays_no_request(config: Config, proxy_to: ProxyTo) -> None:
    assert config.redis_url is not None
    proxy = await proxy_to(config.redis_url)
    async with open_api(replace(config, redis_url=proxy.url)) as api:
        proxy.freeze()
        async with asyncio.timeout(30):
            assert await api.submitted(BODY)
            (queue,) = (await api.get("/api/queues"))["queues"]
            assert queue["depths"] is None
            assert (await api.get("/health/ready"))["redis"] == "away"
        proxy.thaw()
