"""huey on Redis, with threads that run the handlers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from huey import RedisHuey

from bench.peers.sides import handlers
from bench.peers.sides.script import Client, Payload, play
from bench.peers.sides.settings import VALKEY_URL

app = RedisHuey("bench", url=VALKEY_URL)
TASKS = {"noop": app.task(name="noop")(handlers.noop), "nap": app.task(name="nap")(handlers.nap)}


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    async def one(task: str, payload: Payload) -> None:
        TASKS[task](payload)

    yield Client(one)


if __name__ == "__main__":
    play(client)
