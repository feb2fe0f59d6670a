"""DBOS: each task is a workflow without steps, on a queue in Postgres."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from dbos import DBOS, DBOSClient

from bench.peers.sides import handlers
from bench.peers.sides.script import Client, Payload, play
from bench.peers.sides.settings import PLACE, POSTGRES_URL, RELIABLE, SLOTS

QUEUE = "bench"
CONFIG: Any = {
    "name": "leaseq-bench",
    "system_database_url": POSTGRES_URL,
    "application_version": "1",
}
if RELIABLE:
    # Work that a process had begun is restarted when one with the same id starts; by default all
    # have the same.
    CONFIG |= {"executor_id": f"executor-{PLACE}"}


@DBOS.workflow(name="noop")
async def noop(payload: Payload) -> None:
    handlers.noop(payload)


@DBOS.workflow(name="nap")
async def nap(payload: Payload) -> None:
    await handlers.nap_in_loop(payload)


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    dbos = DBOSClient(system_database_url=POSTGRES_URL)

    async def one(task: str, payload: Payload) -> None:
        options: Any = {"queue_name": QUEUE, "workflow_name": task, "app_version": "1"}
        await dbos.enqueue_async(options, payload)

    yield Client(one)
    dbos.destroy()


async def prepare() -> None:
    """The first launch makes the tables."""
    DBOS(config=CONFIG)
    DBOS.launch()
    DBOS.destroy()


async def work() -> None:
    DBOS(config=CONFIG)
    DBOS.launch()
    await DBOS.register_queue_async(QUEUE, worker_concurrency=SLOTS)
    await asyncio.Event().wait()


if __name__ == "__main__":
    play(client, prepare=prepare, work=work)
