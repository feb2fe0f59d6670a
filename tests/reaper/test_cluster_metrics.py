"""A reaper speaks for the cluster, and tells which of its stores is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.limits import LimitBounds
from leaseq.metrics.catalogue import METRICS
from leaseq.model import DEFAULT_TENANT, State
from leaseq.observability.telemetry import recorded
from leaseq.schedules.read_timing import read_timing
from leaseq.schedules.schedule import Definition
from leaseq_reaper import cluster_metrics, sidecar
from leaseq_reaper.cluster_metrics import ClusterMetrics, _of_limits
from support.client import Client
from support.ledger import RETENTION, claim_task, errored, submission
from support.metrics import OPENMETRICS, Scraped, scrape
from support.proxy import ProxyTo
from support.worker import until


@asynccontextmanager
async def reaper(config: Config) -> AsyncIterator[int]:
    """A reaper in this process; the port of its metrics."""
    stop = asyncio.Event()
    with recorded() as events:
        running = asyncio.create_task(sidecar.run(replace(config, metrics_port=0), stop))

        def ports() -> list[int]:
            return [each.fields["port"] for each in events if each.name == "metrics.serving"]

        await until(lambda: bool(ports()))
        try:
            yield ports()[0]
        finally:
            stop.set()
            await running


async def until_scraped(port: int, name: str, value: float | None = None, **labels: str) -> Scraped:
    """The first scrape in which this sum has this value; without one, in which it is not 0."""
    found: list[Scraped] = []

    async def has_value() -> bool:
        found[:] = [await scrape(port, accept=OPENMETRICS)]
        total = found[0].total(name, **labels)
        return total == value if value is not None else total > 0

    await until(has_value)
    return found[0]


async def test_the_cluster_is_measured(config: Config, client: Client) -> None:
    await client.submit("nap", options={"queue": "billing"}, seconds=0)
    await client.submit("nap", options={"queue": "billing", "priority": "high"}, seconds=0)
    await client.submit("nap", options={"queue": "later", "delay_seconds": 3600}, seconds=0)
    await client.engine.pusher.aclose()
    workers = client.engine.stores.workers
    await workers.open_worker("w" * 32, host="h", pid=1, queues=["billing"], version="0")
    for name in ("a", "b"):
        await client.engine.stores.services.announce(
            name,
            "supervisor",
            process=("h", 1, "0"),
            beat_seconds=600.0,
            detail={"queues": ["billing"], "slots": 6},
        )
    await client.engine.pause("later", paused=True)
    await fail(client, "w" * 32, queue="billing", type="charge")
    await client.engine.census.ask()
    async with reaper(replace(config, lease_seconds=600)) as port:
        found = await until_scraped(port, "leaseq_queue_waiting", 2, queue="billing")
        assert found.total("leaseq_queue_waiting", queue="billing", lane="high") == 1
        assert found.total("leaseq_queue_oldest_seconds", queue="billing") > 0
        assert found.total("leaseq_queue_workers", queue="billing") == 1
        assert found.total("leaseq_queue_slots", queue="billing") == 12
        assert found.total("leaseq_queue_backlogged", queue="billing") == 0
        assert found.total("leaseq_dispatch_memory_bytes") > 100_000
        assert found.total("process_open_fds", role="reaper", child="") > 0
        assert found.total("leaseq_queue_paused", queue="later") == 1
        assert found.total("leaseq_queue_paused", queue="billing") == 0
        assert found.total("leaseq_due_overdue_seconds") == 0
        assert found.total("leaseq_scheduled", queue="later") == 1
        assert found.total("leaseq_scheduled") == 1
        assert found.total("leaseq_dead_letters", queue="billing", type="charge") == 1
        assert found.total("leaseq_dead_letters") == 1
        assert found.total("leaseq_tasks_estimated", queue="billing", state="PENDING") == 2
        assert found.total("leaseq_tasks_estimated") == 4
        assert found.total("leaseq_tasks_estimated_error") == 0
        assert found.total("leaseq_workers", state="open") == 1
        assert found.total("leaseq_ledger_bytes", table="tasks") > 0
        assert found.total("leaseq_store_up") == 2
        for name, metric in METRICS.items():
            if "reaper" in metric.roles:
                family = found.families[name.removesuffix("_total").removesuffix("_info")]
                assert (family.documentation, family.unit) == (metric.text, metric.unit)
        ended = await until_scraped(port, "leaseq_reaper_pass_duration_seconds_count", duty="reap")
        assert ended.total("leaseq_reaper_braked") == 0
        assert ended.total("leaseq_reaper_last_pass_timestamp_seconds", duty="reap") > 0


async def test_lines_and_schedules_are_measured(client: Client) -> None:
    stores = client.engine.stores
    await stores.limits.put(LimitBounds(name="stripe", concurrency=2))
    await stores.limits.put(LimitBounds(name="calm", key_concurrency=1))
    limited = [submission(limit="stripe", concurrency_key=str(n)) for n in range(5)]
    await stores.tasks.submit(limited, retention_seconds=RETENTION)
    await stores.limits.admit("stripe")
    timing = read_timing(cron="0 6 * * *", every_seconds=None)
    for name in ("a", "b", "c"):
        definition = Definition(name=name, timing=timing, submission=submission())
        await client.engine.schedules.put(definition)
    await client.engine.schedules.pause(DEFAULT_TENANT, "b")
    async with stores.tasks.session.pool.connection() as conn:
        await conn.execute(
            "update leaseq.schedules set due_at = now() - interval '90 s' where name in ('b', 'c')"
        )
        await conn.execute("update leaseq.limited set since = since - interval '1 minute'")
    measured = await client.engine.measure_cluster(queues=10)
    stripe, calm = measured.limits
    assert (stripe.name, stripe.concurrency, stripe.admitted, stripe.waiting) == ("stripe", 2, 2, 3)
    assert 60 <= stripe.oldest_seconds < 200
    assert (calm.concurrency, calm.admitted, calm.waiting, calm.oldest_seconds) == (None, 0, 0, 0)
    schedules = measured.schedules
    assert (schedules.running, schedules.paused, schedules.over) == (2, 1, 0)
    assert 90 <= schedules.overdue_seconds < 200
    series = {(each.name, *each.labels): each.value for each in _of_limits(measured.limits)}
    assert series["leaseq_limit_waiting", "stripe"] == 3
    assert ("leaseq_limit_concurrency", "calm") not in series


async def fail(client: Client, worker: str, **said: str) -> None:
    """A task that has failed."""
    tasks, failed = client.engine.stores.tasks, submission(**said)
    await tasks.submit([failed], retention_seconds=RETENTION)
    claim = await claim_task(tasks, failed.task_id, worker)
    await tasks.settle([errored(claim, then=State.FAILED)])


async def test_dead_letters_of_many_types_have_a_bounded_number_of_series(
    config: Config, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_metrics, "MOST_PAIRS", 2)
    workers = client.engine.stores.workers
    await workers.open_worker("w", host="h", pid=1, queues=["default"], version="0")
    for type_name in ("a", "a", "b", "b", "c", "d"):
        await fail(client, "w", type=type_name)
    async with reaper(config) as port:
        found = await until_scraped(port, "leaseq_dead_letters", 6)
        assert found.total("leaseq_dead_letters", queue="(other)", type="(other)") == 2
        assert found.total("leaseq_dead_letters", queue="default", type="a") == 2


async def test_a_task_that_is_due_and_not_promoted_is_overdue(client: Client) -> None:
    await client.submit("nap", options={"queue": "later", "delay_seconds": 0.01}, seconds=0)
    cluster = client.engine.stores.cluster

    async def is_overdue() -> bool:
        (queue,) = await cluster.measure_queues(limit=10)
        return queue.name == "later" and (queue.overdue_seconds or 0) > 0

    await until(is_overdue)


async def test_a_reaper_without_redis_tells_so(config: Config, proxy_to: ProxyTo) -> None:
    proxy = await proxy_to(str(config.redis_url))
    async with reaper(replace(config, redis_url=proxy.url)) as port:
        await until_scraped(port, "leaseq_store_up", 2)
        proxy.freeze()
        found = await until_scraped(port, "leaseq_store_up", 0, store="dispatch")
        assert found.total("leaseq_store_up", store="ledger") == 1
        assert not [each for each in found.samples if each.name == "leaseq_queue_waiting"]
        proxy.thaw()
        await until_scraped(port, "leaseq_store_up", 2)


async def test_a_reaper_without_postgres_tells_so(config: Config, proxy_to: ProxyTo) -> None:
    proxy = await proxy_to(str(config.postgres_url))
    async with reaper(replace(config, postgres_url=proxy.url)) as port:
        await until_scraped(port, "leaseq_store_up", 2)
        proxy.freeze()
        found = await until_scraped(port, "leaseq_store_up", 0, store="ledger")
        assert not [each for each in found.samples if each.name == "leaseq_workers"]
        proxy.thaw()
        await until_scraped(port, "leaseq_store_up", 2)


async def test_a_reaper_that_never_found_postgres_answers(config: Config) -> None:
    away = replace(config, postgres_url="postgresql://nobody@127.0.0.1:1/none")
    async with reaper(away) as port:
        found = await scrape(port)
        assert found.total("leaseq_store_up", store="ledger") == 0
        assert [each for each in found.samples if each.name == "leaseq_store_up"]


async def test_the_stores_are_asked_at_most_once_a_second(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    measure = client.engine.measure_cluster

    async def counted(*, queues: int) -> object:
        nonlocal asked
        asked += 1
        return await measure(queues=queues)

    monkeypatch.setattr(client.engine, "measure_cluster", counted)
    cluster = ClusterMetrics()
    cluster.engine = client.engine
    await asyncio.gather(*(cluster.refresh() for _ in range(20)))
    assert asked == 1
