"""A worker whose ending comes too late: its reaper is about to move the delivery."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from leaseq import Leaseq
from leaseq.config import Config
from leaseq.dispatch.deliveries import Deliveries, as_bytes
from leaseq.model import Lane, State
from leaseq.observability.telemetry import recorded
from leaseq.operations.recover import Death
from support.client import Client
from support.dispatch import KEYS
from support.worker import QUEUE, assembled, until, working


async def listed(client: Client, key: str) -> list[str]:
    return [
        as_bytes(value).decode()
        for value in await client.engine.stores.lists._client.lrange(key, 0, -1)
    ]


async def test_a_fenced_ending_between_two_steps_of_a_reap_loses_no_delivery(
    config: Config, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reap has settled the attempt as lost, and has read that the task is PENDING; then the
    ending of its worker arrives."""
    app, may_end = Leaseq(), asyncio.Event()

    @app.task
    async def linger() -> None:
        await may_end.wait()

    dispatcher = client.engine.stores.dispatcher
    release = dispatcher.release
    with recorded() as events:

        def told(name: str) -> bool:
            return any(event.name == name for event in events)

        async with working(config, app) as worker:

            async def release_late(*args: Any, **options: Any) -> int:
                may_end.set()
                await until(lambda: told("attempt.fenced") and worker.running == 0, seconds=30)
                return await release(*args, **options)

            monkeypatch.setattr(dispatcher, "release", release_late)
            task_id = await client.submit("linger")
            await until(lambda: worker.running == 1, seconds=30)
            death = Death(
                worker_id=worker.worker_id, queues=[QUEUE], reason="taken for dead", blame=False
            )
            assert await client.engine.recovery.recover(death)
            assert await listed(client, KEYS.ready(QUEUE, Lane.NORMAL)) == [task_id], (
                "to the head of its lane"
            )
            assert (await client.find(task_id)).state is State.PENDING
    assert not [event for event in events if event.name == "task.redispatched"]


async def test_a_fenced_worker_that_is_open_accounts_for_what_stayed_in_its_list(
    config: Config, client: Client
) -> None:
    """Without a reap: the ledger has given the attempt to no other worker. The worker's own sweep
    finds the delivery."""
    app, may_end, runs = Leaseq(), asyncio.Event(), 0

    @app.task
    async def linger() -> None:
        nonlocal runs
        runs += 1
        await may_end.wait()

    async with working(config, app) as worker:
        task_id = await client.submit("linger")
        await until(lambda: runs == 1, seconds=30)
        await client.rows(
            "update leaseq.tasks set state = 'PENDING', worker_id = null where id = %s", task_id
        )
        with recorded() as events:
            may_end.set()
            await until(lambda: any(event.name == "attempt.fenced" for event in events), seconds=30)
            assert (await client.ended(task_id)).state is State.SUCCESS
        assert [event.name for event in events].count("delivery.stray") == 1
        assert runs == 2

        async def emptied() -> bool:  # the ledger shows an ending before the delivery is released
            return await listed(client, KEYS.processing(QUEUE, worker.worker_id)) == []

        await until(emptied, seconds=30)


async def test_deliveries_handed_back_keep_their_order(config: Config, client: Client) -> None:
    """To the head of its lane, before what waits there, the oldest first."""
    app = Leaseq()

    @app.task
    async def nothing() -> None: ...

    async with assembled(config, app) as worker:
        # in the ledger alone: its claims get nothing
        await client.engine.stores.queues.pause(QUEUE, paused=True)
        order = sorted(await client.submit_many("nothing", 5))
        await client.engine.pusher.aclose()
        pulled = await client.engine.stores.dispatcher.pull(
            QUEUE, worker_id=worker.worker_id, limit=5
        )
        waiting = await client.submit("nothing")
        await client.engine.pusher.aclose()
        assert sorted(pulled.task_ids) == order
        await worker.intakes[QUEUE].take(Deliveries(pulled.task_ids, []))
        assert await listed(client, KEYS.ready(QUEUE, Lane.NORMAL)) == [*pulled.task_ids, waiting]


async def test_deliveries_without_a_slot_are_handed_back_in_order(
    config: Config, client: Client
) -> None:
    app = Leaseq()

    @app.task
    async def nothing() -> None: ...

    async with assembled(config, app, concurrency=2) as worker:
        await client.submit_many("nothing", 6)
        await client.engine.pusher.aclose()
        pulled = await client.engine.stores.dispatcher.pull(
            QUEUE, worker_id=worker.worker_id, limit=6
        )
        await worker.intakes[QUEUE].take(Deliveries(pulled.task_ids, []))
        assert await listed(client, KEYS.ready(QUEUE, Lane.NORMAL)) == pulled.task_ids[2:]
        await until(lambda: worker.running == 0, seconds=30)
