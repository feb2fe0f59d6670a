"""PgQueuer on Postgres, through asyncpg."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg
from pgqueuer import Job, PgQueuer, Queries

from bench.peers.sides import handlers
from bench.peers.sides.script import Client, Payload, play
from bench.peers.sides.settings import LIMIT, LIMITED, POSTGRES_URL, RELIABLE, SLOTS


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    connection = await asyncpg.connect(POSTGRES_URL)
    queries = Queries.from_asyncpg_connection(connection)

    async def one(task: str, payload: Payload) -> None:
        await queries.enqueue(task, json.dumps(payload).encode())

    async def many(task: str, payloads: list[Payload]) -> None:
        count = len(payloads)
        await queries.enqueue(
            [task] * count, [json.dumps(payload).encode() for payload in payloads], [0] * count
        )

    yield Client(one, many)
    await connection.close()


async def prepare() -> None:
    connection = await asyncpg.connect(POSTGRES_URL)
    await Queries.from_asyncpg_connection(connection).install()
    await connection.close()


async def work() -> None:
    pgq = PgQueuer.from_asyncpg_connection(await asyncpg.connect(POSTGRES_URL))

    @pgq.entrypoint("noop")
    async def noop(task: Job) -> None:
        handlers.noop(json.loads(task.payload or b""))

    @pgq.entrypoint("nap")
    async def nap(task: Job) -> None:
        await handlers.nap_in_loop(json.loads(task.payload or b""))

    if LIMITED:

        @pgq.entrypoint("brief", concurrency_limit=LIMIT)
        async def brief(task: Job) -> None:
            await handlers.brief_in_loop(json.loads(task.payload or b""))

        @pgq.entrypoint("hold", concurrency_limit=LIMIT)
        async def hold(task: Job) -> None:
            await handlers.hold_in_loop(json.loads(task.payload or b""))

    # It refuses fewer slots than two batches.
    size = {"batch_size": SLOTS // 2, "max_concurrent_tasks": SLOTS}
    if RELIABLE:
        await pgq.run(
            **size, heartbeat_timeout=timedelta(seconds=8), dequeue_timeout=timedelta(seconds=2)
        )
    else:
        await pgq.run(**size)


if __name__ == "__main__":
    play(client, prepare=prepare, work=work)
