"""Workers and a reaper keep a limit, for each way in which an attempt ends."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from leaseq import Context, Leaseq, Retry
from leaseq.config import Config
from leaseq.errors import LimitInvalid, SubmissionInvalid
from leaseq.limits import LimitBounds
from leaseq.loop import run_forever
from leaseq.model import State
from leaseq.operations.engine import Engine
from leaseq_reaper.duties.admit import Admit
from leaseq_reaper.duties.fire import Fire
from leaseq_reaper.duties.promote import Promote
from support.client import Client
from support.reaper import reconciler
from support.worker import QUEUE, until, working


@asynccontextmanager
async def reaping(engine: Engine) -> AsyncIterator[None]:
    """A reaper that promotes, admits and reconciles, within the block."""
    stop = asyncio.Event()
    duties = {
        "promote": Promote(engine.stores).run_once,
        "admit": Admit(engine.stores).run_once,
        "fire": Fire(engine.stores, engine.config).run_once,
        "reconcile": reconciler(engine).run_once,
    }
    work = [
        asyncio.create_task(run_forever(run_once, name=name, interval_seconds=0.02, stop=stop))
        for name, run_once in duties.items()
    ]
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait(work)


class Watched:
    """An app whose handler notes how many of its attempts run at the same time."""

    def __init__(self, config: Config) -> None:
        self.app = Leaseq(config)
        self.app.limit("stripe", concurrency=3, key_concurrency=2)
        self.running: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.runs: Counter[int] = Counter()

        @self.app.task(limit="stripe", key="customer", max_attempts=5)
        async def charge(ctx: Context, customer: str, n: int) -> None:
            self.runs[n] += 1
            for what in (customer, "all"):
                self.running[what] += 1
                self.most[what] = max(self.most[what], self.running[what])
            try:
                await asyncio.sleep(0.002)
                if n % 5 == 0 and ctx.attempt == 1:
                    raise Retry(delay=0.0)
                if n % 7 == 0:
                    async with ctx.transaction() as tx:
                        await charge.options(connection=tx).submit(customer="nested", n=1_000 + n)
            finally:
                for what in (customer, "all"):
                    self.running[what] -= 1

        self.charge = charge

    async def schedules_ended(self, client: Client) -> bool:
        """Whether each of these tasks has run, of an occurrence and by hand."""
        return all(self.runs[n] >= 2 for n in range(1, 21)) and await ended(client)


async def ended(client: Client) -> bool:
    found = await client.rows(
        "select count(*) from leaseq.tasks where finished_at is null union all select count(*) from leaseq.limited"
    )
    return [row[0] for row in found] == [0, 0]


async def test_a_limit_holds_through_retries_transactions_and_nested_submissions(
    config: Config, client: Client
) -> None:
    watched = Watched(config)
    async with (
        watched.app,
        working(config, watched.app, concurrency=8, registers=True),
        reaping(client.engine),
    ):
        await watched.app.submit_many(
            watched.charge.bind(customer="abc"[n % 3], n=n) for n in range(60)
        )
        await until(lambda: ended(client), seconds=60)
    assert watched.most["all"] <= 3
    assert max(watched.most[key] for key in "abc") <= 2
    assert {n for n in watched.runs if n < 1_000} == set(range(60))
    assert {n for n in watched.runs if n >= 1_000} == {1_000 + n for n in range(0, 60, 7)}


async def test_a_limit_holds_when_redis_loses_everything(config: Config, client: Client) -> None:
    watched = Watched(config)
    async with (
        watched.app,
        working(config, watched.app, concurrency=8, registers=True) as worker,
        reaping(client.engine),
    ):
        await watched.app.submit_many(
            watched.charge.bind(customer="abc"[n % 3], n=n + 1) for n in range(40)
        )
        await until(lambda: len(watched.runs) > 10, seconds=60)
        redis: Any = client.engine.stores.lists._client
        await redis.flushall()
        await client.engine.stores.leases.open(  # as a supervisor does
            QUEUE, worker_id=worker.worker_id, lease_seconds=600.0, token="second"
        )
        await until(lambda: ended(client), seconds=60)
    assert watched.most["all"] <= 3


async def test_a_limit_holds_for_tasks_of_schedules(config: Config, client: Client) -> None:
    watched = Watched(config)
    async with (
        watched.app,
        working(config, watched.app, concurrency=8, registers=True),
        reaping(client.engine),
    ):
        for n in range(1, 21):
            task = watched.charge.bind(customer="abc"[n % 3], n=n)
            await watched.app.schedules.put(f"s{n}", task, every=3600)
        await client.rows(
            "update leaseq.schedules set next_at = now() - interval '1 s', due_at = now() returning 1"
        )
        await asyncio.gather(*[watched.app.schedules.run_now(f"s{n}") for n in range(1, 21)])
        await until(lambda: watched.schedules_ended(client), seconds=60)
    assert watched.most["all"] <= 3
    assert max(watched.most[key] for key in "abc") <= 2


async def test_without_a_reaper_an_ending_admits_the_next_task(
    config: Config, client: Client
) -> None:
    app = Leaseq(config)
    app.limit("one", concurrency=1)
    done: list[int] = []

    @app.task(limit="one")
    async def work(n: int) -> None:
        done.append(n)

    async with app, working(config, app, registers=True):
        await app.submit_many(work.bind(n=n) for n in range(20))
        await until(lambda: len(done) == 20)
    assert sorted(done) == [*range(20)]


async def test_keys_and_limits_that_cannot_be_are_refused_and_store_nothing(
    config: Config, client: Client
) -> None:
    app = Leaseq(config)
    app.limit("stripe", concurrency=1)

    @app.task(limit="stripe", key=lambda customer: customer.split("-")[1])
    async def by_function(customer: str) -> None: ...

    @app.task(limit="missing")
    async def unknown() -> None: ...

    @app.task
    async def plain() -> None: ...

    async with app:
        for refused, message in (
            (by_function.submit("acme"), "the key function of by_function raised IndexError"),
            (by_function.submit(f"-{'x' * 1_000}"), "1 to 255 characters, not 1000"),
            (by_function.options(concurrency_key="").submit("a-b"), "1 to 255 characters, not 0"),
            (plain.options(concurrency_key="a").submit(), "tasks of type plain have no limit"),
            (unknown.submit(), "there is no limit missing"),
        ):
            with pytest.raises(SubmissionInvalid, match=message):
                await refused
        assert await client.rows("select count(*) from leaseq.tasks") == [(0,)]
        task = await by_function.submit("a-b")
        assert (await task.find()).concurrency_key == "b"
        assert (await task.find()).state in (State.SCHEDULED, State.PENDING)


@pytest.mark.parametrize(
    "bounds",
    [
        LimitBounds(name="a b", concurrency=1),
        LimitBounds(name="a", concurrency=0),
        LimitBounds(name="a", key_concurrency=-1),
        LimitBounds(name="a"),
    ],
)
def test_a_limit_that_cannot_be_kept_is_refused_where_it_is_declared(bounds: LimitBounds) -> None:
    app = Leaseq()
    with pytest.raises(LimitInvalid):
        app.limit(
            bounds.name, concurrency=bounds.concurrency, key_concurrency=bounds.key_concurrency
        )


def test_a_key_that_cannot_be_is_refused_where_the_handler_is_registered() -> None:
    app = Leaseq()

    def work(n: int) -> None: ...

    with pytest.raises(ValueError, match="key= needs limit="):
        app.task(key="n")(work)
    with pytest.raises(ValueError, match="name of a parameter, not 'm'"):
        app.task(limit="a", key="m")(work)
