"""A worker of many queues, idle and busy."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis.asyncio
from msgspec.structs import replace

from leaseq.dispatch.deliveries import Release
from leaseq.dispatch.dispatcher import Dispatcher
from leaseq.dispatch.scripts import SCRIPT_BATCH
from leaseq.model import Lane, State
from support.client import Client
from support.dispatch import KEYS, WORKER, begin, ids, leases_of
from support.processes import Service, Services

NAMES = [f"many.{number}" for number in range(40)]
WATCHED_SECONDS = 4.0
# The old worker asked for more than ten a second and queue.
COMMANDS_PER_SECOND = 80


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
async def worker(services: Services, client: Client) -> Service:
    """One that serves them all."""
    services.config = replace(services.config, lease_seconds=6.0, heartbeat_seconds=1.0)
    return await services.worker("--queues", ",".join(NAMES))


async def calls(store: redis.asyncio.Redis) -> int:
    """How many commands the server has carried out, those inside scripts included."""
    found: dict[str, dict[str, Any]] = await store.info("commandstats")
    return sum(numbers["calls"] for numbers in found.values())


async def test_an_idle_worker_asks_for_little(worker: Service, store: redis.asyncio.Redis) -> None:
    before, began = await calls(store), time.monotonic()
    await asyncio.sleep(WATCHED_SECONDS)
    rate = (await calls(store) - before) / (time.monotonic() - began)
    assert rate < COMMANDS_PER_SECOND
    assert len(await store.client_list()) < len(NAMES), (
        "a connection for each idle queue is too many"
    )


@pytest.mark.parametrize("priority", ["high", "normal", "low"])
async def test_a_task_of_an_idle_queue_starts_soon(
    worker: Service, client: Client, priority: str
) -> None:
    began = time.monotonic()
    options = [{"queue": name, "priority": priority} for name in NAMES[::10]]
    tasks = [await client.submit("note", n=1, options=option) for option in options]
    ended = await client.all_ended(tasks)
    assert {(task.state, task.attempt) for task in ended} == {(State.SUCCESS, 1)}
    assert time.monotonic() - began < 10.0, "a look comes twice a second"


async def test_a_queue_that_was_busy_is_asleep_again_and_wakes_again(
    worker: Service, client: Client, store: redis.asyncio.Redis
) -> None:
    for _ in range(2):
        await client.ended(await client.submit("note", n=1, options={"queue": NAMES[3]}))
        await asyncio.sleep(2.5)  # longer than two blocks of a doorbell
        before = await calls(store)
        await asyncio.sleep(1.0)
        assert await calls(store) - before < 2 * COMMANDS_PER_SECOND


async def test_a_delivery_whose_token_was_lost_is_found(
    worker: Service, client: Client, store: redis.asyncio.Redis
) -> None:
    """The worker that took the token died with it."""
    await client.engine.pause(NAMES[5], paused=True)
    task_id = await client.submit("note", n=1, options={"queue": NAMES[5], "priority": "low"})
    await client.engine.pusher.aclose()
    await store.delete(KEYS.ready(NAMES[5], Lane.NORMAL))
    await client.engine.pause(NAMES[5], paused=False)
    assert (await client.ended(task_id)).state is State.SUCCESS


async def test_a_stray_is_found_where_nothing_else_happens(
    worker: Service, client: Client, store: redis.asyncio.Redis
) -> None:
    (opened,) = worker.heard("worker.opened")
    # here only, so that the worker pulls nothing, and may claim
    await store.set(KEYS.paused(NAMES[7]), "1")
    task_id = await client.submit("note", n=1, options={"queue": NAMES[7]})
    await client.engine.pusher.aclose()
    await store.lmove(
        KEYS.ready(NAMES[7], Lane.NORMAL),
        KEYS.processing(NAMES[7], opened["worker_id"]),
        "LEFT",
        "RIGHT",
    )
    await worker.hear("attempt.settled", task_id=task_id)


async def test_a_registration_that_redis_has_lost_is_made_again(
    worker: Service, client: Client, store: redis.asyncio.Redis
) -> None:
    """Without it the worker would pull nothing there, and there may be no other worker for that
    queue."""
    await store.delete(KEYS.leases(NAMES[23]))
    await worker.hear("lease.reopened", queue=NAMES[23])
    task_id = await client.submit("note", n=1, options={"queue": NAMES[23]})
    assert (await client.ended(task_id)).state is State.SUCCESS
    assert not worker.heard("worker.fenced")


async def test_a_task_under_suspicion_runs_alone(
    worker: Service, client: Client, store: redis.asyncio.Redis
) -> None:
    task_id = await client.submit("note", n=1, options={"queue": NAMES[31]})
    await client.ended(task_id)
    await store.rpush(KEYS.ready(NAMES[31], Lane.SUSPECT), task_id)
    await worker.hear("delivery.skipped", task_id=task_id)
    assert len(worker.heard("child.started", isolated=True)) == 1


async def test_the_end_wakes_every_queue(worker: Service) -> None:
    worker.signal(signal.SIGTERM)
    assert await worker.ended() == 0


async def test_one_command_tells_which_of_many_hold_something(
    dispatcher: Dispatcher, valkey: redis.asyncio.Redis, eventually: Callable[..., Any]
) -> None:
    names = [f"q{number}" for number in range(SCRIPT_BATCH + 20)]
    assert await dispatcher.holding(names, lanes=[Lane.NORMAL, Lane.LOW]) == []
    await dispatcher.push(names[3], ids(1), lane=Lane.NORMAL)
    await dispatcher.push(names[-1], ids(1), lane=Lane.LOW)
    await valkey.delete(KEYS.ready(names[-1], Lane.NORMAL))
    await dispatcher.push(names[7], ids(1), lane=Lane.SUSPECT)
    assert await dispatcher.holding(names, lanes=[Lane.NORMAL, Lane.LOW]) == [names[3], names[-1]]
    assert await dispatcher.holding(names, lanes=[Lane.SUSPECT]) == [names[7]]


async def test_registrations_and_lists_of_many_queues_are_shown(dispatcher: Dispatcher) -> None:
    names = ["a", "b", "c"]
    for name in names[:2]:
        await begin(dispatcher, queue=name)
    (task_id,) = ids(1)
    await dispatcher.push("b", [task_id])
    await dispatcher.pull("b", worker_id=WORKER, limit=1)
    assert await dispatcher.occupied(names, worker_id=WORKER) == ["b"]
    assert await leases_of(dispatcher).unregistered(names, [WORKER]) == [("c", WORKER)]
    await dispatcher.release("b", [Release(task_id)], worker_id=WORKER)
    assert await dispatcher.occupied(names, worker_id=WORKER) == []
