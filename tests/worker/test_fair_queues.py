"""A queue with a limit, and a fair one, at work with workers and reapers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from leaseq import Context, Leaseq
from leaseq.config import Config
from leaseq.errors import FeatureNeedsUpgrade, LimitInvalid, LimitNotFound
from leaseq.limits import QueueRule
from leaseq.loop import run_forever
from leaseq.model import State
from leaseq.operations.engine import Engine
from leaseq_reaper.duties.admit import Admit
from leaseq_reaper.duties.fair_queues import FairQueues
from leaseq_reaper.duties.fire import Fire
from leaseq_reaper.duties.promote import Promote
from leaseq_reaper.duties.refill import Refill
from support.client import Client
from support.reaper import reconciler
from support.worker import QUEUE, until, working

TENANTS = ("a", "b", "c")


@asynccontextmanager
async def reaping(engine: Engine) -> AsyncIterator[None]:
    """A reaper that does what queues with limits need, within the block."""
    stop = asyncio.Event()
    duties = {
        "promote": Promote(engine.stores).run_once,
        "admit": Admit(engine.stores).run_once,
        "queues": FairQueues(engine.stores).run_once,
        "refill": Refill(engine.stores).run_once,
        "fire": Fire(engine.stores, engine.config).run_once,
        "reconcile": reconciler(engine).run_once,
    }
    work = [
        asyncio.create_task(run_forever(run_once, name=name, interval_seconds=0.05, stop=stop))
        for name, run_once in duties.items()
    ]
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait(work)


class Shared:
    """An app whose handler notes the order in which tasks of tenants begin."""

    def __init__(self, config: Config, *, fair: bool = True) -> None:
        self.app = Leaseq(config)
        if fair:
            self.app.queue(QUEUE, fair=True)
        self.order: list[str] = []
        self.running = 0
        self.most = 0

        @self.app.task
        async def work(tenant: str) -> None:
            self.order.append(tenant)
            self.running += 1
            self.most = max(self.most, self.running)
            await asyncio.sleep(0)
            self.running -= 1

        self.work = work

    async def submit(self, config: Config, tenant: str, count: int) -> None:
        """Submit as another program does that imports no app with the declaration."""
        program = Leaseq(config, tenant=tenant)

        @program.task
        async def work(tenant: str) -> None: ...

        async with program:
            await program.submit_many(work.bind(tenant) for _ in range(count))


async def unfinished(client: Client) -> int:
    ((count,),) = await client.rows("select count(*) from leaseq.tasks where finished_at is null")
    return int(count)


async def lines_are_empty(client: Client) -> bool:
    return await unfinished(client) == 0 and await client.rows(
        "select count(*) from leaseq.limited"
    ) == [(0,)]


async def test_a_tenant_with_many_tasks_delays_no_other(config: Config, client: Client) -> None:
    shared = Shared(config)
    async with shared.app, reaping(client.engine):
        await shared.submit(config, "many", 2_000)
        for tenant in TENANTS:
            await shared.submit(config, tenant, 10)
        async with working(config, shared.app, concurrency=8, registers=True):
            await until(lambda: lines_are_empty(client), seconds=60)
    last = max(n for n, tenant in enumerate(shared.order) if tenant != "many")
    # three of four turns, after the tasks that were admitted before
    assert last < 400
    assert Counter(shared.order) == {"many": 2_000, "a": 10, "b": 10, "c": 10}


async def test_a_plain_queue_serves_in_the_order_of_submission(
    config: Config, client: Client
) -> None:
    shared = Shared(config, fair=False)
    async with shared.app:
        await shared.submit(config, "many", 300)
        await shared.submit(config, "a", 5)
        async with working(config, shared.app, concurrency=8, registers=True):
            await until(lambda: lines_are_empty(client), seconds=60)
    assert shared.order == ["many"] * 300 + ["a"] * 5
    assert await client.rows("select count(*) from leaseq.guards") == [(0,)]


async def test_a_queue_becomes_fair_and_plain_again_under_load(
    config: Config, client: Client
) -> None:
    shared = Shared(config, fair=False)
    queues = client.engine.stores.queue_limits
    async with shared.app:
        await shared.submit(config, "many", 3_000)
        async with (
            working(config, shared.app, concurrency=8, registers=True),
            reaping(client.engine),
        ):
            await until(lambda: len(shared.order) > 50)
            await queues.put(QueueRule(queue=QUEUE, fair=True))
            await shared.submit(config, "a", 10)
            await until(lambda: shared.order.count("a") == 10, seconds=60)
            assert len(shared.order) < 2_900
            await queues.put(QueueRule(queue=QUEUE))
            await until(lambda: lines_are_empty(client), seconds=60)
    assert Counter(shared.order) == {"many": 3_000, "a": 10}


async def test_a_queue_keeps_its_limit_for_every_submitter(config: Config, client: Client) -> None:
    shared = Shared(config, fair=False)
    shared.app.limit("warehouse", concurrency=2)
    shared.app.queue(QUEUE, limit="warehouse")
    async with (
        shared.app,
        working(config, shared.app, concurrency=8, registers=True),
        reaping(client.engine),
    ):
        await shared.submit(config, "a", 40)
        await shared.app.submit_many(shared.work.bind("b") for _ in range(40))
        await until(lambda: lines_are_empty(client), seconds=60)
    assert shared.most == 2
    assert Counter(shared.order) == {"a": 40, "b": 40}


async def test_tasks_of_schedules_take_the_limit_of_their_queue(
    config: Config, client: Client
) -> None:
    shared = Shared(config, fair=False)
    shared.app.limit("warehouse", concurrency=1)
    shared.app.queue(QUEUE, limit="warehouse")
    schedules = shared.app.schedules
    async with (
        shared.app,
        working(config, shared.app, concurrency=8, registers=True),
        reaping(client.engine),
    ):
        for n in range(6):
            await schedules.put(f"s{n}", shared.work.bind("a"), every=3600)
        await client.rows(
            "update leaseq.schedules set next_at = now() - interval '1 s', due_at = now() returning 1"
        )
        await asyncio.gather(*[schedules.run_now(f"s{n}") for n in range(6)])
        await until(lambda: len(shared.order) >= 12, seconds=60)
    assert shared.most == 1
    assert await client.rows(
        "select count(*) from leaseq.tasks where limit_name is distinct from 'warehouse'"
    ) == [(0,)]


async def test_tasks_that_handlers_submit_take_the_limit_of_their_queue(
    config: Config, client: Client
) -> None:
    app = Leaseq(config)
    app.queue(QUEUE, fair=True)

    @app.task
    async def parent(ctx: Context) -> None:
        async with ctx.transaction() as tx:
            await child.options(connection=tx).submit()
        await child.submit()

    @app.task
    async def child() -> None: ...

    async with app, working(config, app, registers=True), reaping(client.engine):
        await parent.submit()
        await until(lambda: lines_are_empty(client), seconds=60)
    found = await client.rows("select limit_name, state, count(*) from leaseq.tasks group by 1, 2")
    assert found == [("@default", "SUCCESS", 3)]


async def test_an_idle_worker_gets_a_task_of_a_fair_queue_without_a_reaper(
    config: Config, client: Client
) -> None:
    shared = Shared(config)
    async with shared.app, working(config, shared.app, registers=True):
        for n in range(20):
            await (await shared.work.submit("a")).result(timeout=30)
            assert len(shared.order) == n + 1


async def test_a_fair_queue_survives_the_loss_of_redis(config: Config, client: Client) -> None:
    shared = Shared(config)
    async with (
        shared.app,
        working(config, shared.app, concurrency=8, registers=True) as worker,
        reaping(client.engine),
    ):
        await shared.submit(config, "many", 600)
        await shared.submit(config, "a", 5)
        await until(lambda: len(shared.order) > 20, seconds=60)
        redis: Any = client.engine.stores.lists._client
        await redis.flushall()
        await client.engine.stores.leases.open(  # as a supervisor does
            QUEUE, worker_id=worker.worker_id, lease_seconds=600.0, token="second"
        )
        await until(lambda: lines_are_empty(client), seconds=60)
    assert Counter(shared.order)["a"] >= 5


async def test_a_process_of_an_older_version_keeps_tasks_out_of_a_fair_queue(
    config: Config, client: Client
) -> None:
    shared = Shared(config)
    async with shared.app:
        await client.rows(
            "insert into leaseq.workers (id, host, pid, queues, version) values ('old', 'h', 1, '{default}', '0.1') returning 1"
        )
        with pytest.raises(FeatureNeedsUpgrade, match="worker old"):
            await shared.work.submit("a")
        assert await unfinished(client) == 0
        handle = await shared.work.options(queue="other").submit("a")
        assert (await client.find(handle.id)).state is State.PENDING


async def test_a_rule_that_no_queue_can_have_is_refused(config: Config) -> None:
    app = Leaseq(config)
    with pytest.raises(LimitInvalid, match="takes no other one"):
        app.queue("shared", limit="warehouse", fair=True)
    with pytest.raises(LimitInvalid, match="name of a queue"):
        app.queue("@shared", fair=True)
    app.queue("sync", limit="nowhere")
    with pytest.raises(LimitInvalid, match="declared twice"):
        app.queue("sync")
    with pytest.raises(LimitNotFound, match="no limit nowhere"):
        async with app:
            pass
