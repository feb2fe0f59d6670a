"""The delivery of the doorbell is in flight while the worker pulls more."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from leaseq import Context, Leaseq
from leaseq.config import Config
from leaseq.dispatch.deliveries import Deliveries
from leaseq.dispatch.dispatcher import Dispatcher
from leaseq.errors import ServerUnreachable
from leaseq.model import State
from leaseq.observability.telemetry import recorded
from support.client import Client
from support.worker import QUEUE, assembled, until

app = Leaseq()
runs: list[str] = []


@app.task
async def quick(ctx: Context) -> None:
    runs.append(ctx.task_id)


@pytest.fixture(autouse=True)
def forget_runs() -> None:
    runs.clear()


class Pulls:
    """The pulls of one worker, which wait for the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go = asyncio.Event(), asyncio.Event()
        self.brings: Deliveries | Exception = Deliveries([], [])
        monkeypatch.setattr(Dispatcher, "pull", self._wait)

    async def _wait(self, *args: Any, **options: Any) -> Deliveries:
        self.begun.set()
        await self.go.wait()
        if isinstance(self.brings, Exception):
            raise self.brings
        return self.brings


async def rung(client: Client, dispatcher: Dispatcher, *, worker_id: str) -> Deliveries:
    """One delivery in the worker's list, as a doorbell brings it."""
    await client.submit("quick")
    await client.engine.pusher.aclose()
    return await dispatcher.pull(QUEUE, worker_id=worker_id, limit=1)


async def test_a_sweep_during_the_pull_finds_no_stray(
    config: Config, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with recorded() as events:
        async with assembled(config, app) as worker:
            arrived = await rung(client, worker.list_audit._dispatcher, worker_id=worker.worker_id)
            pulls = Pulls(monkeypatch)
            pulls.brings = Deliveries(arrived.task_ids, [])  # and it is in the list once more
            taking = asyncio.create_task(worker.intakes[QUEUE]._take_with_more(arrived))
            await pulls.begun.wait()
            await worker.list_audit.run_once()
            pulls.go.set()
            await taking
            assert (await client.ended(arrived.task_ids[0])).state is State.SUCCESS
            await until(lambda: worker.running == 0, seconds=30)
    assert runs == arrived.task_ids
    assert not {"delivery.stray", "loop.failed"} & {event.name for event in events}


async def test_a_pull_that_fails_leaves_the_delivery_to_the_sweep(
    config: Config, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with assembled(config, app) as worker:
        arrived = await rung(client, worker.list_audit._dispatcher, worker_id=worker.worker_id)
        pulls = Pulls(monkeypatch)
        pulls.brings = ServerUnreachable("Redis is away")
        pulls.go.set()
        with pytest.raises(ServerUnreachable):
            await worker.intakes[QUEUE]._take_with_more(arrived)
        assert runs == []
        await worker.list_audit.run_once()
        assert (await client.ended(arrived.task_ids[0])).state is State.SUCCESS
        await until(lambda: worker.running == 0, seconds=30)
    assert runs == arrived.task_ids
