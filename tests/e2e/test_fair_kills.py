"""A fair queue keeps turns and tasks while processes that admit are killed."""

from __future__ import annotations

import signal

import pytest
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.limits import QueueRule
from leaseq.model import State, Submission
from support.client import Client
from support.ledger import submission
from support.processes import Services, send
from support.worker import QUEUE, until

MANY, FEW, KILLS = 150, 10, 3


@pytest.fixture
def config(config: Config) -> Config:
    return replace(config, lease_seconds=2.0, heartbeat_seconds=0.4, concurrency=4)


def naps(tenant: str, count: int) -> list[Submission]:
    payload = b'{"seconds":0.05}'
    return [submission(type="nap", payload=payload, tenant=tenant) for _ in range(count)]


async def test_killed_workers_and_reapers_keep_the_turns_and_lose_no_task(
    services: Services, client: Client
) -> None:
    await client.engine.stores.queue_limits.put(QueueRule(queue=QUEUE, fair=True))
    await client.engine.queue_limits.refresh()
    reaper = await services.reaper()
    worker = await services.worker(children=2)
    many, few = naps("many", MANY), naps("few", FEW)
    await client.engine.submit_many([*many, *few])
    for kill in range(KILLS):
        await worker.hear("attempt.started", count=(kill + 1) * MANY // (KILLS + 2))
        admitting = [pid for pid in worker.children if worker.heard("task.admitted", pid=pid)]
        send((admitting or [*worker.children])[-1], signal.SIGKILL)
        if kill == 1:
            reaper.signal(signal.SIGKILL)
            await services.reaper()

    async def is_over() -> bool:
        found = await client.rows("select count(*) from leaseq.tasks where finished_at is null")
        return found == [(0,)]

    await until(is_over, seconds=60)
    tasks = await client.engine.stores.tasks.find(
        [each.task_id for each in [*many, *few]], tenant=None
    )
    assert {task.state for task in tasks.values()} == {State.SUCCESS}
    assert await client.rows("select count(*) from leaseq.limited") == [(0,)]
    last = max(
        task.finished_at for task in tasks.values() if task.tenant == "few" and task.finished_at
    )
    before = [each for each in many if (end := tasks[each.task_id].finished_at) and end < last]
    assert len(before) < MANY * 2 // 3
