"""Workers start tasks of limits with rates by tokens, and hand back the others."""

from __future__ import annotations

from leaseq.app import Leaseq
from leaseq.config import Config
from leaseq.limits import LimitBounds
from support.client import Client
from support.worker import until, working
from worker.test_limits import reaping


async def pass_over(client: Client, seconds: int) -> None:
    await client.rows(f"update leaseq.guards set tat = tat - interval '{seconds} s' returning 1")


async def test_a_worker_starts_the_burst_and_then_the_rate(config: Config, client: Client) -> None:
    app = Leaseq(config)
    app.limit("stripe", rate="10/h", burst=2)
    done: list[int] = []

    @app.task(limit="stripe")
    async def charge(n: int) -> None:
        done.append(n)

    async with app, working(config, app, registers=True), reaping(client.engine):
        await app.submit_many(charge.bind(n=n) for n in range(10))
        await until(lambda: len(done) == 3)
        for total in (4, 5):
            await pass_over(client, 361)
            await until(lambda total=total: len(done) == total)
    assert len(done) == 5


async def test_tasks_that_were_admitted_before_the_rate_was_lowered_are_handed_back(
    config: Config, client: Client
) -> None:
    app = Leaseq(config)
    done: list[int] = []

    @app.task(limit="stripe", max_attempts=1)
    async def charge(n: int) -> None:
        done.append(n)

    limits = client.engine.limits
    await limits.put(LimitBounds(name="stripe", rate="10/h", burst=5))
    async with app:
        await app.submit_many(charge.bind(n=n) for n in range(6))
        pending = "select count(*) from leaseq.tasks where state = 'PENDING'"

        async def all_wait() -> bool:
            await limits.admit("stripe")
            return await client.rows(pending) == [(6,)]

        await until(all_wait)
        await limits.put(LimitBounds(name="stripe", rate="1/h"))
        async with working(config, app, registers=True), reaping(client.engine):
            handed_back = (
                "select count(distinct task_id) from leaseq.attempts "
                "where outcome = 'released' and error ->> 'code' = 'rate'"
            )

            async def others_are_back() -> bool:
                return await client.rows(handed_back) == [(5,)]

            await until(others_are_back)
            await until(lambda: len(done) == 1)
            await limits.put(LimitBounds(name="stripe", concurrency=1))
            await until(lambda: len(done) == 6)
