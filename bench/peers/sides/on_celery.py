"""Celery on Redis, with processes or threads that run the handlers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from celery import Celery

from bench.peers.sides import handlers
from bench.peers.sides.script import Client, Payload, play
from bench.peers.sides.settings import RELIABLE, VALKEY_URL

app = Celery("bench", broker=VALKEY_URL)
if RELIABLE:
    app.conf.update(
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        # Without the last two, kombu looks for unacknowledged messages only every hundred seconds.
        broker_transport_options={
            "visibility_timeout": 10,
            "unacked_restore_interval": 2,
            "unacked_restore_throttle": 1,
        },
    )
TASKS: dict[str, Any] = {
    "noop": app.task(handlers.noop, name="noop"),
    "nap": app.task(handlers.nap, name="nap"),
}


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    async def one(task: str, payload: Payload) -> None:
        TASKS[task].delay(payload)

    yield Client(one)


if __name__ == "__main__":
    play(client)
