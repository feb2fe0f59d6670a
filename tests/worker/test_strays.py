"""Deliveries that a worker does not expect."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis.asyncio

from leaseq.codec import new_task_id
from leaseq.model import Lane, State
from leaseq_chaos.pace import Pace
from support.client import Client
from support.dispatch import KEYS
from support.processes import Services

READY = KEYS.ready("default", Lane.NORMAL)


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        yield client


async def test_a_stray_in_a_live_workers_list_is_found(
    services: Services, client: Client, store: redis.asyncio.Redis, pace: Pace
) -> None:
    """An id that was moved into the list without the worker's knowledge (its reply was lost) runs
    within 5 s."""
    worker = await services.worker()
    (opened,) = worker.heard("worker.opened")
    # here only, so that the worker pulls nothing, and may claim
    await store.set(KEYS.paused("default"), "1")
    await asyncio.sleep(1.2)  # longer than one block of the doorbell: the waiter has returned
    task_id = await client.submit("note", n=1)
    await client.engine.pusher.aclose()
    moved = await store.lmove(
        READY, KEYS.processing("default", opened["worker_id"]), "LEFT", "RIGHT"
    )
    assert moved == task_id.encode()
    began = time.monotonic()
    await worker.hear("attempt.settled", task_id=task_id)
    assert time.monotonic() - began < 5.0 * pace.slowness


async def test_a_paused_queue_starts_nothing_whatever_dispatch_says(
    services: Services, client: Client
) -> None:
    worker = await services.worker()
    # and dispatch has lost it, or does not know it yet
    await client.engine.stores.queues.pause("default", paused=True)
    task_id = await client.submit("note", n=1)
    await worker.hear("delivery.released", count=2)  # back to its lane
    assert (await client.find(task_id)).attempt == 0
    assert len(worker.heard("delivery.released")) < 6, "it asks now and then, and not all the time"
    await client.engine.pause("default", paused=False)
    await worker.hear("attempt.settled", task_id=task_id)


async def test_a_delivery_that_strayed_from_a_paused_queue_does_not_go_round_in_circles(
    services: Services, client: Client, store: redis.asyncio.Redis
) -> None:
    await client.engine.stores.queues.pause("aside", paused=True)
    task_id = await client.submit("note", n=1, options={"queue": "aside"})
    await store.rpush(READY, task_id)
    worker = await services.worker()
    await worker.hear("delivery.released")
    assert await store.llen(READY) == 0
    assert (await client.find(task_id)).state is State.PENDING


async def test_garbage_is_parked_and_everything_else_flows(
    services: Services, client: Client, store: redis.asyncio.Redis
) -> None:
    unknown = new_task_id()
    garbage = [b"", b"nonsense", b"\xff\xfe\x00", b"{}" * 5000, unknown.encode(), b"UPPER-CASE"]
    await store.rpush(READY, *garbage)
    task_id = await client.submit("note", n=1)
    worker = await services.worker()
    assert (await client.ended(task_id)).state is State.SUCCESS
    # an event for each kind, with a count
    while sum(event["count"] for event in worker.heard("delivery.parked")) < 5:
        await worker.hear("delivery.parked", count=len(worker.heard("delivery.parked")) + 1)
    parked = set(await store.lrange(KEYS.parked("default"), 0, -1))
    assert parked == set(garbage) - {b""}
    assert await store.llen(READY) == 0


async def test_a_redelivered_task_that_already_took_effect_is_skipped(
    services: Services, client: Client, store: redis.asyncio.Redis, eventually: Callable[..., Any]
) -> None:
    worker = await services.worker()
    task_id = await client.submit("note", n=1)
    await client.ended(task_id)
    await store.rpush(READY, task_id, task_id, task_id)
    await worker.hear("delivery.skipped", task_id=task_id)
    assert await client.effects(task_id) == 1
    assert (await client.find(task_id)).attempt == 1
    (opened,) = worker.heard("worker.opened")

    async def all_released() -> bool:
        return bool(await store.llen(KEYS.processing("default", opened["worker_id"])) == 0)

    await eventually(all_released)


async def test_the_same_task_delivered_many_times_runs_once(
    services: Services, client: Client, store: redis.asyncio.Redis
) -> None:
    await client.engine.pause("default", paused=True)
    ids = await client.submit_many("hold", 5, seconds=0.3)
    await client.engine.pusher.aclose()
    for _ in range(4):
        await store.rpush(READY, *ids)
    await client.engine.pause("default", paused=False)
    await services.worker(children=2)
    tasks = await client.all_ended(ids)
    assert {(task.state, task.attempt) for task in tasks} == {(State.SUCCESS, 1)}
    assert await client.doubled() == []


async def test_a_lane_of_another_type_does_not_stop_a_worker(
    services: Services, client: Client, store: redis.asyncio.Redis
) -> None:
    await store.set(READY, "not a list")
    worker = await services.worker()
    await worker.hear("dispatch.repaired", keys=[f"{READY} (string)"])
    task_id = await client.submit("note", n=1)
    assert (await client.ended(task_id)).state is State.SUCCESS
