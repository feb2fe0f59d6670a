"""SAQ, on Redis or on Postgres."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from saq import Queue, Worker

from bench.peers.sides import handlers
from bench.peers.sides.script import Client, Payload, play
from bench.peers.sides.settings import CONTENDER, POSTGRES_URL, RELIABLE, SLOTS, VALKEY_URL

# In attempts and seconds, of each task.
OPTIONS: dict[str, Any] = {"retries": 10, "timeout": 10} if RELIABLE else {}


async def noop(_context: dict[str, Any], *, payload: Payload) -> None:
    handlers.noop(payload)


async def nap(_context: dict[str, Any], *, payload: Payload) -> None:
    await handlers.nap_in_loop(payload)


def open_queue() -> Any:
    return Queue.from_url(POSTGRES_URL if CONTENDER == "saq-pg" else VALKEY_URL)


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    queue = open_queue()

    async def one(task: str, payload: Payload) -> None:
        await queue.enqueue(task, payload=payload, **OPTIONS)

    await queue.connect()
    yield Client(one)
    await queue.disconnect()


async def prepare() -> None:
    """On Postgres: make the tables, before two workers try at a time."""
    queue = open_queue()
    await queue.connect()
    await queue.disconnect()


async def work() -> None:
    queue = open_queue()
    await queue.connect()
    timers: Any = {"sweep": 2} if RELIABLE else None
    await Worker(queue, [("noop", noop), ("nap", nap)], concurrency=SLOTS, timers=timers).start()


if __name__ == "__main__":
    play(client, prepare=prepare, work=work)
