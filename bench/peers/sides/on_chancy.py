"""Chancy on Postgres, with its executor for event loops."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from chancy import Chancy, Queue, Worker, job
from chancy.plugins.leadership import Leadership
from chancy.plugins.recovery import Recovery

from bench.peers.sides import handlers
from bench.peers.sides.script import Client, Payload, play
from bench.peers.sides.settings import POSTGRES_URL, RELIABLE, SLOTS

OPTIONS = {"heartbeat_poll_interval": 2, "heartbeat_timeout": 8} if RELIABLE else {}


@job()
async def noop(*, payload: Payload) -> None:
    handlers.noop(payload)


@job()
async def nap(*, payload: Payload) -> None:
    await handlers.nap_in_loop(payload)


TASKS: dict[str, Any] = {"noop": noop, "nap": nap}


def open_app() -> Any:
    plugins = (
        [Leadership(poll_interval=2, timeout=6), Recovery(poll_interval=3)] if RELIABLE else []
    )
    return Chancy(POSTGRES_URL, plugins=plugins)


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    async with open_app() as app:

        async def one(task: str, payload: Payload) -> None:
            await app.push(TASKS[task].job.with_kwargs(payload=payload))

        async def many(task: str, payloads: list[Payload]) -> None:
            tasks = [TASKS[task].job.with_kwargs(payload=payload) for payload in payloads]
            async for _ in app.push_many(tasks):
                pass

        yield Client(one, many)


async def prepare() -> None:
    async with open_app() as app:
        await app.migrate()
        # Without eager polling it looks for more every five seconds only, however soon its slots
        # are free.
        await app.declare(
            Queue("default", concurrency=SLOTS, executor=Chancy.Executor.Async, eager_polling=True)
        )


async def work() -> None:
    async with open_app() as app, Worker(app, **OPTIONS) as worker:
        await worker.wait_for_shutdown()


if __name__ == "__main__":
    play(client, prepare=prepare, work=work)
