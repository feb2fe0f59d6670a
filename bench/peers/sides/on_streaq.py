"""streaq, on Redis streams."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from streaq import Worker

from bench.peers.sides import handlers
from bench.peers.sides.script import Client, Payload, play
from bench.peers.sides.settings import RELIABLE, SLOTS, VALKEY_URL

OPTIONS = {"idle_timeout": 10} if RELIABLE else {}

app = Worker(redis_url=VALKEY_URL, concurrency=SLOTS, **OPTIONS)


@app.task(name="noop")
async def noop(payload: Payload) -> None:
    handlers.noop(payload)


@app.task(name="nap")
async def nap(payload: Payload) -> None:
    await handlers.nap_in_loop(payload)


TASKS = {"noop": noop, "nap": nap}


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    async def one(task: str, payload: Payload) -> None:
        await TASKS[task].enqueue(payload)

    async def many(task: str, payloads: list[Payload]) -> None:
        await app.enqueue_many([TASKS[task].enqueue(payload) for payload in payloads])

    async with app:
        yield Client(one, many)


async def work() -> None:
    await app.run_async()


if __name__ == "__main__":
    play(client, work=work)
