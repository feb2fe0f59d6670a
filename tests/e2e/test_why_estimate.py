"""The estimated beginning of a task in a lane, against its real one."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from leaseq import Leaseq
from leaseq.config import Config
from leaseq.model import DEFAULT_TENANT, State
from leaseq.operations.engine import Engine
from leaseq.operations.open_engine import open_engine
from leaseq.operations.submission import accept
from support.processes import PATIENCE
from support.requests import request_of
from support.worker import until, working

TASKS = 10_000
CHUNK = 500
TRIES = 10
GOOD = 9
# By so much the estimate may be wrong, up and down. The pace is that of the machine, which both
# sides of the comparison have in common, so a slow machine needs no more.
FACTOR = 2.0
# The handlers sleep: so many begin in a second, on a machine that is quick enough.
SLOTS, SECONDS = 20, 0.04


@pytest.fixture
def config(config: Config) -> Config:
    return replace(config, lease_seconds=600.0, heartbeat_seconds=2.0)


@pytest.mark.slow("ten thousand tasks")
async def test_the_beginning_of_a_task_is_estimated_within_a_factor_of_two(config: Config) -> None:
    app = Leaseq(config)

    @app.task
    async def nap() -> None:
        await asyncio.sleep(SECONDS)

    async with open_engine(config, name="leaseq test client") as engine:
        ids = await submitted(engine, config)
        # One after another, far enough behind the head for an estimate.
        asked = ids[2_000 :: (TASKS - 2_000) // TRIES][:TRIES]
        async with working(config, app, concurrency=SLOTS, registers=True):
            ratios = [await ratio(engine, task_id, ids) for task_id in asked]
    good = [each for each in ratios if 1 / FACTOR <= each <= FACTOR]
    assert len(good) >= GOOD, ratios


async def submitted(engine: Engine, config: Config) -> list[str]:
    """Tasks in the order of their lane."""
    ids: list[str] = []
    for _ in range(0, TASKS, CHUNK):
        batch = [
            accept(request_of(type="nap", payload=b"{}"), config, tenant=DEFAULT_TENANT, known=None)
            for _ in range(CHUNK)
        ]
        answers = await engine.submit_many(batch)
        assert not any(isinstance(each, BaseException) for each in answers)
        ids += [submission.task_id for submission in batch]
    return ids


async def ratio(engine: Engine, task_id: str, ids: list[str]) -> float:
    """Estimated over real seconds until the task begins, asked when about a second of the lane is
    before it."""
    near = ids[max(ids.index(task_id) - 700, 0)]

    async def has_begun(wanted: str) -> bool:
        return (await engine.for_tenant(DEFAULT_TENANT).find(wanted)).state is not State.PENDING

    await until(lambda: has_begun(near))
    why = await engine.explain(task_id, tenant=DEFAULT_TENANT)
    assert why.case == "in_lane", why
    assert why.next_at is not None, why
    await engine.waiter.wait(task_id, timeout=PATIENCE)
    task = await engine.for_tenant(DEFAULT_TENANT).find(task_id)
    assert task.started_at is not None
    real = (task.started_at - why.at).total_seconds()
    return (why.next_at - why.at).total_seconds() / max(real, 0.001)
