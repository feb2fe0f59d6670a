"""DBOS: each task is a workflow without steps, on a queue in Postgres."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from dbos import DBOS, DBOSClient

from bench.peers.sides import handlers
from bench.peers.sides.script import Client, Payload, play
from bench.peers.sides.settings import (
    KEY_LIMIT,
    LIMIT,
    LIMITED,
    PLACE,
    POSTGRES_URL,
    RELIABLE,
    SLOTS,
)

QUEUE, KEYED_QUEUE = "bench", "keyed"
# By default each worker looks once a second, so a queue starts at most its limit a second.
POLL_SECONDS = 0.1
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


@DBOS.workflow(name="brief")
async def brief(payload: Payload) -> None:
    await handlers.brief_in_loop(payload)


@DBOS.workflow(name="keyed")
async def keyed(payload: Payload) -> None:
    await handlers.brief_in_loop(payload)


@DBOS.workflow(name="hold")
async def hold(payload: Payload) -> None:
    await handlers.hold_in_loop(payload)


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    dbos = DBOSClient(system_database_url=POSTGRES_URL)

    async def one(task: str, payload: Payload) -> None:
        options: Any = {"queue_name": QUEUE, "workflow_name": task, "app_version": "1"}
        if task == "keyed":
            key = handlers.key_of(payload["order_id"])
            options |= {"queue_name": KEYED_QUEUE, "queue_partition_key": key}
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
    if LIMITED:
        limits: Any = {
            "worker_concurrency": min(SLOTS, LIMIT),
            "global_concurrency": LIMIT,
            "polling_interval_sec": POLL_SECONDS,
        }
        await DBOS.register_queue_async(QUEUE, **limits)
        await DBOS.register_queue_async(KEYED_QUEUE, partition_concurrency=KEY_LIMIT, **limits)
    else:
        await DBOS.register_queue_async(QUEUE, worker_concurrency=SLOTS)
    await asyncio.Event().wait()


if __name__ == "__main__":
    play(client, prepare=prepare, work=work)
