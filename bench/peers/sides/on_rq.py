"""RQ: a fork for each task, or with SimpleWorker none."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis import Redis
from rq import Queue, Retry

from bench.peers.sides import handlers
from bench.peers.sides.script import Client, Payload, play
from bench.peers.sides.settings import RELIABLE, VALKEY_URL

# A worker imports them by their names.
TASKS = {"noop": handlers.noop, "nap": handlers.nap}


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    queue = Queue(connection=Redis.from_url(VALKEY_URL))
    retry = Retry(max=5) if RELIABLE else None

    async def one(task: str, payload: Payload) -> None:
        queue.enqueue(TASKS[task], payload, retry=retry)

    async def many(task: str, payloads: list[Payload]) -> None:
        queue.enqueue_many(
            [Queue.prepare_data(TASKS[task], (payload,), retry=retry) for payload in payloads]
        )

    yield Client(one, many)


if __name__ == "__main__":
    play(client)
