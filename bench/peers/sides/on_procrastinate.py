"""Procrastinate on Postgres."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from procrastinate import App, JobContext, PsycopgConnector

from bench.peers.sides import handlers
from bench.peers.sides.script import Client, Payload, play
from bench.peers.sides.settings import POSTGRES_URL, RELIABLE, SLOTS

OPTIONS: dict[str, Any] = (
    {"update_heartbeat_interval": 2, "stalled_worker_timeout": 10} if RELIABLE else {}
)

app = App(connector=PsycopgConnector(conninfo=POSTGRES_URL))


@app.task(name="noop")
async def noop(**payload: Any) -> None:
    handlers.noop(payload)


@app.task(name="nap")
async def nap(**payload: Any) -> None:
    await handlers.nap_in_loop(payload)


TASKS = {"noop": noop, "nap": nap}

if RELIABLE:

    @app.periodic(cron="* * * * * */3")  # the sixth field is the second
    @app.task(name="rescue", queueing_lock="rescue", pass_context=True)
    async def rescue(context: JobContext, timestamp: int) -> None:
        """As its documentation advises: whose worker has no heartbeat runs again."""
        for stalled in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=10):
            await app.job_manager.retry_job(stalled)


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    async def one(task: str, payload: Payload) -> None:
        await TASKS[task].defer_async(**payload)

    async def many(task: str, payloads: list[Payload]) -> None:
        await TASKS[task].batch_defer_async(*payloads)

    async with app.open_async():
        yield Client(one, many)


async def prepare() -> None:
    async with app.open_async():
        await app.schema_manager.apply_schema_async()


async def work() -> None:
    async with app.open_async():
        await app.run_worker_async(concurrency=SLOTS, **OPTIONS)


if __name__ == "__main__":
    play(client, prepare=prepare, work=work)
