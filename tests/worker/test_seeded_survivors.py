"""Conditions in reap and commit that no other test covered.

Each test fails if the condition that its name tells of is removed (docs/chaos.md, Mutants).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from leaseq import Context, Leaseq
from leaseq.config import Config
from leaseq.ledger.tasks import TaskLedger
from leaseq.model import Claim, Settled, State
from leaseq.operations.engine import Engine
from leaseq.operations.open_engine import open_engine
from leaseq.operations.recover import Death
from support.client import Client
from support.ledger import claim_task, find, submit
from support.worker import QUEUE, working

PLANS = ("enable_seqscan", "enable_bitmapscan", "enable_hashjoin", "enable_mergejoin")


@pytest.fixture
async def engine(config: Config) -> AsyncIterator[Engine]:
    async with open_engine(config, name="leaseq test") as opened:
        yield opened


@pytest.mark.parametrize("other_was_first", [True, False])
async def test_a_death_is_blamed_by_the_one_that_closed_the_worker(
    engine: Engine, other_was_first: bool
) -> None:
    """A second pass finds what the first one left, and would take one task of many for the only
    one."""
    stores = engine.stores
    await stores.workers.open_worker("dead", host="here", pid=1, queues=[QUEUE], version="0")
    await stores.leases.open(QUEUE, worker_id="dead", lease_seconds=600, token="first")
    task_id = await submit(stores.tasks, queue=QUEUE)
    await stores.dispatcher.push(QUEUE, [task_id])
    await stores.dispatcher.pull(QUEUE, worker_id="dead", limit=1)
    await claim_task(stores.tasks, task_id, "dead")
    if other_was_first:
        assert await stores.workers.close_worker("dead", reason="another reaper", stale_after=None)
    assert await engine.recovery.recover(
        Death(worker_id="dead", queues=[QUEUE], reason="killed", blame=True)
    )
    task = await find(stores.tasks, task_id)
    assert task.state == State.PENDING
    assert (task.crash_count, task.loss_count) == ((0, 1) if other_was_first else (1, 0))


async def test_the_settle_of_a_transaction_runs_with_our_plans(
    config: Config, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings of the handler do not matter: a plan without the index reads the whole table, once
    for each attempt."""
    found: list[Sequence[str]] = []
    succeed = TaskLedger.succeed

    async def looking(
        self: TaskLedger, claim: Claim, result: bytes | None, *, conn: Any
    ) -> Settled | None:
        asked = ", ".join(f"current_setting('{name}')" for name in PLANS)
        cursor = await conn.execute(f"select {asked}")
        found.append(await cursor.fetchone())
        return await succeed(self, claim, result, conn=conn)

    monkeypatch.setattr(TaskLedger, "succeed", looking)
    app = Leaseq()

    @app.task
    async def meddle(ctx: Context) -> None:
        async with ctx.transaction() as tx:
            for name in PLANS:
                await tx.execute(f"set {name} = on".encode())

    async with working(config, app):
        task = await client.submit("meddle")
        assert (await client.ended(task)).state == State.SUCCESS
    assert found == [("off",) * len(PLANS)]
