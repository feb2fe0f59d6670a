"""taskiq on Redis: a list (popped is gone), or a stream (can be claimed again)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from taskiq_redis import ListQueueBroker, RedisStreamBroker

from bench.peers.sides import handlers
from bench.peers.sides.script import Client, Payload, play
from bench.peers.sides.settings import CONTENDER, RELIABLE, VALKEY_URL

# In milliseconds, seconds, and entries.
OPTIONS = (
    {"idle_timeout": 10_000, "unacknowledged_lock_timeout": 5, "xread_count": 4} if RELIABLE else {}
)

app = (
    ListQueueBroker(VALKEY_URL)
    if CONTENDER == "taskiq-list"
    else RedisStreamBroker(VALKEY_URL, **OPTIONS)
)


@app.task(task_name="noop")
async def noop(payload: Payload) -> None:
    handlers.noop(payload)


@app.task(task_name="nap")
async def nap(payload: Payload) -> None:
    await handlers.nap_in_loop(payload)


TASKS = {"noop": noop, "nap": nap}


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    async def one(task: str, payload: Payload) -> None:
        await TASKS[task].kiq(payload)

    await app.startup()
    yield Client(one)
    await app.shutdown()


if __name__ == "__main__":
    play(client)
