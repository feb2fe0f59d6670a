"""No permit of a killed worker or reaper is lost, or given twice."""

from __future__ import annotations

import asyncio
import signal

import pytest
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.limits import LimitBounds
from leaseq.model import State, Submitted
from support.client import Client
from support.ledger import submission
from support.processes import Services, send
from support.worker import until

KEYS, TASKS, KILLS = 6, 48, 5
# Of the ledger at one moment: keys with more than one permit, and tasks that run without one.
WRONG = """
select
    (select count(*) from (
        select from leaseq.limited where admitted_at is not null group by key having count(*) > 1
    ) as over),
    (select count(*) from leaseq.tasks as t where state in ('PENDING', 'PROCESSING') and not exists (
        select from leaseq.limited as l where l.task_id = t.id and l.admitted_at is not null
    ))
"""


@pytest.fixture
def config(config: Config) -> Config:
    return replace(config, lease_seconds=2.0, heartbeat_seconds=0.4, concurrency=20)


async def test_killed_workers_and_reapers_keep_a_limit_and_lose_no_permit(
    services: Services, client: Client
) -> None:
    await client.engine.limits.put(LimitBounds(name="one", key_concurrency=1))
    reapers = [await services.reaper(), await services.reaper()]
    worker = await services.worker(children=2)
    answers = await client.engine.submit_many(
        [
            submission(
                type="nap", payload=b'{"seconds":0.1}', limit="one", concurrency_key=f"k{n % KEYS}"
            )
            for n in range(TASKS)
        ]
    )
    ids = [answer.task_id for answer in answers if isinstance(answer, Submitted)]
    assert len(ids) == TASKS

    async def watch() -> None:
        while True:
            assert await client.rows(WRONG) == [(0, 0)]
            await asyncio.sleep(0.005)

    watching = asyncio.create_task(watch())
    for kill in range(KILLS):
        await worker.hear("attempt.started", count=(kill + 1) * TASKS // (KILLS + 2))
        running = [pid for pid in worker.children if worker.heard("task.claimed", pid=pid)]
        send((running or [*worker.children])[-1], signal.SIGKILL)
        if kill == 2:
            reapers[0].signal(signal.SIGKILL)

    async def is_over() -> bool:
        assert not watching.done(), watching.exception()
        found = await client.rows("select count(*) from leaseq.tasks where finished_at is null")
        return found == [(0,)]

    await until(is_over, seconds=60)
    watching.cancel()
    assert {(await client.find(task_id)).state for task_id in ids} == {State.SUCCESS}
    assert await client.rows("select count(*) from leaseq.limited") == [(0,)]
    assert not [line for one in reapers for line in one.heard("limit.repaired")]
