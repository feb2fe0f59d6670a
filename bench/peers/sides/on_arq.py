"""arq: handlers in an event loop, Redis asked twice a second."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from arq import create_pool, func
from arq.connections import RedisSettings
from arq.worker import Worker

from bench.peers.sides import handlers
from bench.peers.sides.script import Client, Payload, play
from bench.peers.sides.settings import RELIABLE, SLOTS, VALKEY_URL

REDIS = RedisSettings.from_dsn(VALKEY_URL)


async def noop(_context: dict[Any, Any], payload: Payload) -> None:
    handlers.noop(payload)


async def nap(_context: dict[Any, Any], payload: Payload) -> None:
    await handlers.nap_in_loop(payload)


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    pool = await create_pool(REDIS)

    async def one(task: str, payload: Payload) -> None:
        await pool.enqueue_job(task, payload)

    yield Client(one)
    await pool.aclose()


async def work() -> None:
    options = {"job_timeout": 5} if RELIABLE else {}
    functions = [func(noop, name="noop"), func(nap, name="nap")]
    await Worker(functions, redis_settings=REDIS, max_jobs=SLOTS, **options).async_run()


if __name__ == "__main__":
    play(client, work=work)
