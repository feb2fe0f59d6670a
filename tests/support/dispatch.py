"""Inspect dispatch, through leaseq and directly."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection

from leaseq.codec import FIRST_ID, new_task_id, next_id
from leaseq.config import Config
from leaseq.connections.redis import open_redis
from leaseq.connections.redis_connection import Guarded
from leaseq.dispatch.deliveries import as_bytes
from leaseq.dispatch.dispatcher import Dispatcher
from leaseq.dispatch.keys import Keys
from leaseq.dispatch.leases import WorkerLeases
from leaseq.dispatch.parts import DispatchParts, parts_over
from leaseq.model import Lane

KEYS = Keys("leaseq")  # of a deployment that says nothing of a prefix
QUEUE = "default"
WORKER = "w1"
_newest = [FIRST_ID]


@pytest.fixture
def redis_only(redis_url: str) -> Config:
    """A configuration for tests that have no use for a ledger."""
    return Config(redis_url=redis_url)


@pytest.fixture
async def valkey(redis_only: Config) -> AsyncIterator[Redis]:
    """The client that the dispatcher of this test uses; also good for looking behind its back."""
    opened = open_redis(redis_only, name="leaseq-test")
    yield opened
    await opened.aclose()


@pytest.fixture
def dispatcher(valkey: Redis) -> Dispatcher:
    return Dispatcher(valkey, KEYS)


@pytest.fixture
def reads(valkey: Redis) -> DispatchParts:
    return parts_over(valkey, KEYS)


def leases_of(dispatcher: Dispatcher) -> WorkerLeases:
    """The leases over the client of this dispatcher."""
    return WorkerLeases(dispatcher._client, dispatcher._keys)


@pytest.fixture
def replies(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many replies of Redis this process has read since the last call."""
    count = 0

    def counting(read: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def keep(connection: Any, *args: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            return await read(connection, *args, **options)

        return keep

    def counted() -> int:
        nonlocal count
        before, count = count, 0
        return before

    monkeypatch.setattr(
        AbstractConnection, "read_response", counting(AbstractConnection.read_response)
    )
    monkeypatch.setattr(Guarded, "exchange", counting(Guarded.exchange))
    return counted


def ids(count: int) -> list[str]:
    """So many task ids, in order, and behind all that were made before. (Real ones of one
    millisecond are in no order.)"""
    made = [max(new_task_id(), next_id(_newest[0]))]
    while len(made) < count:
        made.append(next_id(made[-1]))
    _newest[0] = made[-1]
    return made[:count]


async def begin(dispatcher: Dispatcher, *workers: str, queue: str = QUEUE) -> None:
    """Open the leases of workers."""
    for worker in workers or (WORKER,):
        await leases_of(dispatcher).open(queue, worker_id=worker, lease_seconds=60, token="epoch")


async def in_lane(valkey: Redis, lane: Lane = Lane.NORMAL, *, queue: str = QUEUE) -> list[str]:
    """Everything in a lane, head first."""
    return [
        as_bytes(value).decode() for value in await valkey.lrange(KEYS.ready(queue, lane), 0, -1)
    ]


async def in_hand(valkey: Redis, worker: str = WORKER, *, queue: str = QUEUE) -> list[str]:
    """Everything in a processing list, oldest first."""
    return [
        as_bytes(value).decode()
        for value in await valkey.lrange(KEYS.processing(queue, worker), 0, -1)
    ]
