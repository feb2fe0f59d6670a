"""The reap of a large worker leaves room for other heartbeats."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.dispatch.deliveries import as_bytes
from leaseq.dispatch.scripts import SCRIPT_BATCH
from leaseq.loop import end
from leaseq.model import Lane, State
from leaseq.observability.telemetry import recorded
from leaseq.operations.engine import Engine
from leaseq.operations.open_engine import open_engine
from leaseq.operations.recover import Death
from leaseq.supervisor.heartbeat import Heartbeat
from leaseq_chaos.pace import Pace
from support.dispatch import KEYS
from support.ledger import RETENTION, submission
from support.worker import QUEUE

HELD = 10_000


@pytest.fixture
async def engine(config: Config) -> AsyncIterator[Engine]:
    async with open_engine(replace(config, lease_seconds=2.0), name="leaseq test") as opened:
        yield opened


async def holding(engine: Engine, worker_id: str, count: int) -> list[str]:
    """A worker with so many tasks in its list, the first half of them claimed."""
    stores = engine.stores
    await stores.workers.open_worker(worker_id, host="here", pid=1, queues=[QUEUE], version="0")
    await stores.leases.open(QUEUE, worker_id=worker_id, lease_seconds=600, token="first")
    ids: list[str] = []
    for _ in range(0, count, SCRIPT_BATCH):
        batch = sorted((submission() for _ in range(SCRIPT_BATCH)), key=lambda s: s.task_id)
        await stores.tasks.submit(batch, retention_seconds=RETENTION)
        task_ids = [s.task_id for s in batch]
        await stores.dispatcher.push(QUEUE, task_ids)
        await stores.dispatcher.pull(QUEUE, worker_id=worker_id, limit=SCRIPT_BATCH)
        if len(ids) < count // 2:
            await stores.tasks.claim(task_ids, worker_id=worker_id)
        ids += task_ids
    return sorted(ids)


async def listed(engine: Engine, key: str) -> list[str]:
    return [
        as_bytes(value).decode() for value in await engine.stores.lists._client.lrange(key, 0, -1)
    ]


async def test_ten_thousand_are_taken_back_in_batches_while_others_beat(
    engine: Engine, config: Config, pace: Pace
) -> None:
    ids = await holding(engine, "dead", HELD)
    await holding(engine, "alive", 0)
    async with open_engine(engine.config, name="leaseq test supervisor") as other:
        heartbeat = Heartbeat(other.config, other.stores, [QUEUE])
        gaps: list[float] = []

        async def beat() -> None:
            while True:
                began = time.monotonic()
                assert (await heartbeat.beat(["alive"]))["alive"].renewed_at is not None
                gaps.append(time.monotonic() - began)
                await asyncio.sleep(0.02)

        beating = asyncio.create_task(beat())
        with recorded() as events:
            await engine.recovery.recover(Death(worker_id="dead", queues=[QUEUE], reason="killed"))
        await end(beating)

    assert max(gaps) < engine.config.lease_seconds / 2 * pace.slowness
    assert len([event for event in events if event.name == "attempt.reaped"]) == HELD // 2
    assert sorted(await listed(engine, KEYS.ready(QUEUE, Lane.NORMAL))) == ids, (
        "all of them, once each"
    )
    assert await listed(engine, KEYS.processing(QUEUE, "dead")) == []
    found = await engine.stores.tasks.find(ids[:10] + ids[-10:], tenant="default")
    assert {(task.state, task.crash_count) for task in found.values()} == {(State.PENDING, 0)}


async def test_deliveries_taken_back_keep_their_order(engine: Engine) -> None:
    """Over several batches too: the oldest comes to stand first, before tasks that waited already."""
    ids = await holding(engine, "dead", 3 * SCRIPT_BATCH)
    waiting = sorted(submission().task_id for _ in range(2))
    await engine.stores.dispatcher.push(QUEUE, waiting)
    order = await listed(engine, KEYS.processing(QUEUE, "dead"))
    assert sorted(order) == ids
    await engine.recovery.recover(Death(worker_id="dead", queues=[QUEUE], reason="killed"))
    assert await listed(engine, KEYS.ready(QUEUE, Lane.NORMAL)) == [*order, *waiting]
