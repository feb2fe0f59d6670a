"""dramatiq on Redis, with threads that run the handlers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from bench.peers.sides import handlers
from bench.peers.sides.script import Client, Payload, play
from bench.peers.sides.settings import RELIABLE, VALKEY_URL

# In milliseconds, and in commands of a million.
OPTIONS = {"heartbeat_timeout": 10_000, "maintenance_chance": 100_000} if RELIABLE else {}

dramatiq.set_broker(RedisBroker(url=VALKEY_URL, **OPTIONS))
TASKS = {
    "noop": dramatiq.actor(handlers.noop, actor_name="noop"),
    "nap": dramatiq.actor(handlers.nap, actor_name="nap"),
}


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    async def one(task: str, payload: Payload) -> None:
        TASKS[task].send(payload)

    yield Client(one)


if __name__ == "__main__":
    play(client)
