"""Oban, its Python edition, on Postgres."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from oban import Oban, job
from oban.schema import install

from bench.peers.sides import handlers
from bench.peers.sides.script import Client, Payload, play
from bench.peers.sides.settings import POSTGRES_URL, RELIABLE, SLOTS

# Seconds. It goes by the age of a task, not by the life of its worker.
OPTIONS = {"lifeline": {"interval": 3, "rescue_after": 8}} if RELIABLE else {}


@job(queue="default")
async def noop(payload: Payload) -> None:
    handlers.noop(payload)


@job(queue="default")
async def nap(payload: Payload) -> None:
    await handlers.nap_in_loop(payload)


TASKS = {"noop": noop, "nap": nap}


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    pool = await Oban.create_pool(POSTGRES_URL)
    async with Oban(pool=pool) as oban:

        async def one(task: str, payload: Payload) -> None:
            await oban.enqueue(TASKS[task].new(payload))

        async def many(task: str, payloads: list[Payload]) -> None:
            await oban.enqueue_many([TASKS[task].new(payload) for payload in payloads])

        yield Client(one, many)
    await pool.close()


async def prepare() -> None:
    pool = await Oban.create_pool(POSTGRES_URL)
    await install(pool)
    await pool.close()


async def work() -> None:
    pool = await Oban.create_pool(POSTGRES_URL)
    async with Oban(pool=pool, queues={"default": SLOTS}, **OPTIONS):
        await asyncio.Event().wait()


if __name__ == "__main__":
    play(client, prepare=prepare, work=work)
