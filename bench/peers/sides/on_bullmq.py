"""BullMQ, its Python edition."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bullmq import Queue, Worker

from bench.peers.sides import handlers
from bench.peers.sides.script import Client, Payload, play
from bench.peers.sides.settings import LIMIT, LIMITED, RELIABLE, SLOTS, VALKEY_URL

NAME = "bench"
# In milliseconds, and in times.
OPTIONS = (
    {"lockDuration": 10_000, "stalledInterval": 5_000, "maxStalledCount": 10} if RELIABLE else {}
)


async def process(task: Any, _token: str) -> None:
    if task.name == "nap":
        await handlers.nap_in_loop(task.data)
    elif task.name == "brief":
        await handlers.brief_in_loop(task.data)
    elif task.name == "hold":
        await handlers.hold_in_loop(task.data)
    else:
        handlers.noop(task.data)


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    queue = Queue(NAME, {"connection": VALKEY_URL})

    async def one(task: str, payload: Payload) -> None:
        await queue.add(task, payload)

    async def many(task: str, payloads: list[Payload]) -> None:
        await queue.addBulk([{"name": task, "data": payload} for payload in payloads])

    yield Client(one, many)
    await queue.close()


async def prepare() -> None:
    if LIMITED:
        queue = Queue(NAME, {"connection": VALKEY_URL})
        await queue.setGlobalConcurrency(LIMIT)
        await queue.close()


async def work() -> None:
    await Worker(
        NAME, process, {"connection": VALKEY_URL, "concurrency": SLOTS, "autorun": False, **OPTIONS}
    ).run()


if __name__ == "__main__":
    play(client, prepare=prepare, work=work)
