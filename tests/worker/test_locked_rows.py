"""One row that a person has locked holds up its own task and no other.

The lock is a real one: an open transaction of another session, as `psql` with autocommit off leaves
it behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from leaseq import Context, Leaseq
from leaseq.config import Config
from leaseq.dispatch.dispatcher import Dispatcher
from leaseq.ledger.session import Locked
from leaseq.ledger.tasks import TaskLedger
from leaseq.model import ClaimedTask, Lane, Settled, Settlement, State
from leaseq.observability.telemetry import recorded
from leaseq.operations.recover import Death
from leaseq.worker.attempt.outcome import Stop
from leaseq.worker.in_flight import InFlight
from leaseq.worker.intake import locked_deliveries
from support.client import Client
from support.processes import PATIENCE
from support.reaper import named, names
from support.servers import person
from support.worker import QUEUE, promoting, until, working

SECONDS = 60.0 * PATIENCE
TOUCH = b"update leaseq.tasks set priority = priority where id = any(%s::uuid[])"


class Handlers:
    """Handlers that note each run, and one that waits to be let go."""

    def __init__(self) -> None:
        self.app = Leaseq()
        self.runs: list[str] = []
        self.go = asyncio.Event()

        @self.app.task
        async def quick(ctx: Context) -> None:
            self.runs.append(ctx.task_id)

        @self.app.task(timeout=600)
        async def waits(ctx: Context) -> None:
            self.runs.append(ctx.task_id)
            await self.go.wait()

        @self.app.task(timeout=600)
        async def reports(ctx: Context) -> None:
            self.runs.append(ctx.task_id)
            await self.go.wait()
            await ctx.set_progress(1)


class Waits:
    """How often a statement of the worker has timed out on a lock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.claims = self.settles = 0
        claim_task, settle = TaskLedger.claim, TaskLedger.settle

        async def counted_claim(
            ledger: TaskLedger, task_ids: Sequence[str], *, worker_id: str
        ) -> list[ClaimedTask]:
            try:
                return await claim_task(ledger, task_ids, worker_id=worker_id)
            except Locked:
                self.claims += 1
                raise

        async def counted_settle(
            ledger: TaskLedger, batch: Sequence[Settlement], **said: Any
        ) -> dict[str, Settled]:
            try:
                return await settle(ledger, batch, **said)
            except Locked:
                self.settles += 1
                raise

        monkeypatch.setattr(TaskLedger, "claim", counted_claim)
        monkeypatch.setattr(TaskLedger, "settle", counted_settle)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    return Waits(monkeypatch)


async def states(client: Client, ids: Sequence[str]) -> set[State]:
    return {
        task.state
        for task in (await client.engine.stores.tasks.find(ids, tenant="default")).values()
    }


async def test_a_claim_goes_around_locked_rows(
    config: Config, client: Client, waits: Waits
) -> None:
    handlers = Handlers()
    ids = await client.submit_many("quick", 40)
    locked, free = ids[::4], [task_id for n, task_id in enumerate(ids) if n % 4]
    with recorded() as events:
        async with person(config) as psql:
            await psql.execute(TOUCH, [locked])
            async with working(config, handlers.app):
                await client.all_ended(free, timeout=SECONDS)
                await client.all_ended(await client.submit_many("quick", 8), timeout=SECONDS)
                assert await states(client, locked) == {State.PENDING}
                assert waits.claims == 1, "each of ten locked rows was waited for"
                await psql.commit()
                await client.all_ended(locked, timeout=SECONDS)
    assert sorted(handlers.runs) == sorted(set(handlers.runs)), "one run each"
    told = named(events, "task.locked")
    assert {task_id for fields in told for task_id in fields["task_ids"]} == set(locked)
    assert sum(fields["count"] for fields in told) == len(locked), "each is told once"
    assert all("application 'psql'" in holder for fields in told for holder in fields["held_by"])
    assert all(fields["held_by"] and fields["verb"] == "claim" for fields in told)
    assert "ledger.unreachable" not in names(events)


async def test_more_locked_rows_than_a_worker_keeps_go_back_to_their_lane(
    config: Config, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locked_deliveries, "CAPACITY", 1)
    handlers = Handlers()
    ids = await client.submit_many("quick", 4)
    async with person(config) as psql:
        await psql.execute(TOUCH, [ids[:2]])
        async with working(config, handlers.app):
            await client.all_ended(ids[2:], timeout=SECONDS)
            await client.all_ended(await client.submit_many("quick", 4), timeout=SECONDS)
            await psql.commit()
            await client.all_ended(ids, timeout=SECONDS)
    assert sorted(handlers.runs) == sorted(set(handlers.runs))


async def test_a_delivery_that_is_kept_during_a_look_is_not_taken_for_free(
    client: Client, config: Config
) -> None:
    ids = await client.submit_many("quick", 2)
    in_flight = InFlight()
    holds = in_flight.add(QUEUE, ids).new
    kept = locked_deliveries.LockedDeliveries(client.engine.stores.tasks, in_flight)
    kept.add(holds[0])
    async with person(config) as psql:
        await psql.execute(TOUCH, [ids])
        look = asyncio.create_task(kept.take_free())
        await asyncio.sleep(0)
        assert await kept.tasks.find_and_report(ids[1:]) == {ids[1]}
        kept.add(holds[1])
        assert await look == {}
        assert await kept.take_free() == {}
    assert await kept.take_free() == {QUEUE: ids}


async def test_a_worker_that_ends_leaves_no_locked_delivery_behind(
    config: Config, client: Client
) -> None:
    handlers = Handlers()
    locked, free = await client.submit("quick"), await client.submit("quick")
    dispatcher: Dispatcher = client.engine.stores.dispatcher
    with recorded() as events:
        async with person(config) as psql:
            await psql.execute(TOUCH, [[locked]])
            async with working(config, handlers.app) as worker:
                await client.ended(free, timeout=SECONDS)
                await until(lambda: "task.locked" in names(events), seconds=SECONDS)
                await worker.list_audit.run_once()  # it is in hand: neither a stray nor forgotten
                worker_id = worker.worker_id
                assert (await dispatcher.held(QUEUE, worker_id=worker_id)).task_ids == [locked]
            await client.engine.recovery.recover(
                Death(worker_id=worker_id, queues=[QUEUE], reason="killed")
            )
            found = await dispatcher.pull(QUEUE, worker_id=worker_id, limit=5)
            assert found.task_ids == [], "its worker is closed"
            assert await client.engine.stores.lists.length(QUEUE, Lane.NORMAL) == 1
            assert await states(client, [locked]) == {State.PENDING}
            await psql.commit()
        async with working(config, handlers.app):
            await client.ended(locked, timeout=SECONDS)
    assert "delivery.stray" not in names(events)


async def test_a_settle_goes_around_locked_rows(
    config: Config, client: Client, waits: Waits
) -> None:
    handlers = Handlers()
    with recorded() as events:
        async with person(config) as psql, working(config, handlers.app, concurrency=5) as worker:
            ids = [await client.submit("waits") for _ in range(5)]
            await until(lambda: len(handlers.runs) == 5, seconds=SECONDS)
            locked, free = ids[:3], ids[3:]
            await psql.execute(TOUCH, [locked])
            handlers.go.set()
            await client.all_ended(free, timeout=SECONDS)
            # More than the places of unsettled attempts: those that are locked give theirs back.
            await client.all_ended(await client.submit_many("quick", 20), timeout=SECONDS)
            assert await states(client, locked) == {State.PROCESSING}
            await until(lambda: worker.running == 3, seconds=SECONDS)
            assert waits.settles == 1
            await psql.commit()
            tasks = await client.all_ended(locked, timeout=SECONDS)
            await until(lambda: worker.running == 0, seconds=SECONDS)
    assert {(task.state, task.attempt) for task in tasks} == {(State.SUCCESS, 1)}
    assert sorted(handlers.runs) == sorted(set(handlers.runs))
    assert {
        task_id for fields in named(events, "task.locked") for task_id in fields["task_ids"]
    } == set(locked)
    assert not {"attempt.fenced", "loop.failed", "delivery.stray"} & set(names(events))


async def test_endings_that_come_later_than_the_lock_is_known_wait_for_none(
    config: Config, client: Client, waits: Waits
) -> None:
    """Handlers end one by one, so each locked ending comes in a batch of its own."""
    app, gates = Leaseq(), [asyncio.Event() for _ in range(6)]
    started = []

    @app.task(timeout=600)
    async def gated(n: int) -> None:
        started.append(n)
        await gates[n].wait()

    async with person(config) as psql, working(config, app, concurrency=6):
        ids = [await client.submit("gated", n=n) for n in range(6)]
        await until(lambda: len(started) == 6, seconds=SECONDS)
        await psql.execute(TOUCH, [ids[:5]])
        with recorded() as events:
            gates[0].set()
            await until(lambda: "task.locked" in names(events), seconds=SECONDS)
            for n in range(1, 5):
                gates[n].set()
                await until(lambda: len(named(events, "task.locked")) == n + 1, seconds=SECONDS)  # noqa: B023
            gates[5].set()
            await client.ended(ids[5], timeout=SECONDS)
        assert waits.settles == 1
        await psql.commit()
        assert {task.state for task in await client.all_ended(ids, timeout=SECONDS)} == {
            State.SUCCESS
        }


async def test_an_ending_that_needs_another_locked_row_is_written_alone(
    config: Config, client: Client
) -> None:
    """A trigger of the user needs it here."""
    app = Leaseq()
    started: list[str] = []
    go = asyncio.Event()

    @app.task(timeout=600)
    async def waits(ctx: Context) -> None:
        started.append(ctx.task_id)
        await go.wait()

    async with person(config) as psql, working(config, app) as worker:
        await psql.execute(
            b"create function public.hold() returns trigger language plpgsql as"
            b" $$ begin perform from public.held where id = new.id for update; return new; end $$"
        )
        await psql.execute(b"create table public.held (id uuid primary key)")
        await psql.execute(b"grant all on public.held to public")
        await psql.execute(
            b"create trigger hold before update on leaseq.tasks for each row"
            b" when (new.state = 'SUCCESS') execute function public.hold()"
        )
        await psql.commit()
        ids = [await client.submit("waits") for _ in range(3)]
        await until(lambda: len(started) == 3, seconds=SECONDS)
        await psql.execute(b"insert into public.held values (%s)", [ids[0]])
        await psql.commit()
        await psql.execute(b"select from public.held for update")
        go.set()
        await client.all_ended(ids[1:], timeout=SECONDS)
        await until(lambda: worker.running == 1, seconds=SECONDS)
        await psql.commit()
        assert (await client.ended(ids[0], timeout=SECONDS)).state is State.SUCCESS


async def test_a_settle_whose_answer_was_lost_and_whose_row_is_locked_counts(
    config: Config, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    handlers = Handlers()
    settle = TaskLedger.settle
    async with person(config) as psql:
        lost: list[str] = []

        async def losing(
            ledger: TaskLedger, batch: Sequence[Settlement], **said: Any
        ) -> dict[str, Settled]:
            found = await settle(ledger, batch, **said)
            if not lost:
                lost.append(batch[0].claim.task_id)
                await psql.execute(TOUCH, [lost])
                raise Locked("the answer to this settle was lost, and the row is locked now")
            return found

        monkeypatch.setattr(TaskLedger, "settle", losing)
        with recorded() as events:
            async with working(config, handlers.app) as worker:
                task_id = await client.submit("quick")
                await until(lambda: "task.locked" in names(events), seconds=SECONDS)
                await psql.commit()
                await until(lambda: worker.running == 0, seconds=SECONDS)
    assert lost == [task_id]
    assert "attempt.fenced" not in names(events)
    assert [fields["state"] for fields in named(events, "attempt.settled")] == [State.SUCCESS]


async def test_a_drain_does_not_wait_for_a_locked_row(config: Config, client: Client) -> None:
    """The other attempts are handed back, and the worker is closed. The locked task runs again
    when its row is free."""
    handlers = Handlers()
    async with person(config) as psql:
        async with working(config, handlers.app) as worker:
            ids = [await client.submit("waits") for _ in range(4)]
            await until(lambda: len(handlers.runs) == 4, seconds=SECONDS)
            await psql.execute(TOUCH, [ids[:1]])
            hurry = asyncio.Event()
            hurry.set()
            await worker.drain(0.0, hurry=hurry, reason=Stop.DRAIN)
            death = Death(worker_id=worker.worker_id, queues=[QUEUE], reason="drained", blame=False)
            assert await client.engine.recovery.recover(death)
            assert await states(client, ids[1:]) == {State.PENDING}
            assert await states(client, ids[:1]) == {State.PROCESSING}
        await psql.commit()
    await client.engine.recovery.recover(death)
    assert await states(client, ids) == {State.PENDING}


async def test_progress_of_a_locked_task_fails_no_handler_and_keeps_no_connection(
    config: Config, client: Client
) -> None:
    """More such tasks than the worker has connections."""
    handlers = Handlers()
    with recorded() as events:
        async with person(config) as psql, working(config, handlers.app, concurrency=8) as worker:
            ids = [await client.submit("reports") for _ in range(6)]
            await until(lambda: len(handlers.runs) == 6, seconds=SECONDS)
            await psql.execute(TOUCH, [ids])
            handlers.go.set()
            await client.all_ended(await client.submit_many("quick", 8), timeout=SECONDS)
            await until(lambda: "task.locked" in names(events), seconds=SECONDS)
            await until(lambda: worker.running == 6, seconds=SECONDS)
            await psql.commit()
            tasks = await client.all_ended(ids, timeout=SECONDS)
    assert {(task.state, task.attempt) for task in tasks} == {(State.SUCCESS, 1)}


async def test_a_transaction_whose_task_is_locked_takes_effect_once(
    config: Config, client: Client
) -> None:
    """Its commit meets the lock: it is undone, the task is handed back when its row is free, and
    runs again."""
    app, go = Leaseq(), asyncio.Event()
    runs: list[int] = []

    @app.task(timeout=600)
    async def writes(ctx: Context) -> None:
        runs.append(ctx.attempt)
        async with ctx.transaction() as tx:
            await tx.execute("insert into effects values (%s, %s, 0)", (ctx.task_id, ctx.attempt))
            await go.wait()

    with recorded() as events:
        async with person(config) as psql, promoting(client.engine), working(config, app):
            locked, free = await client.submit("writes"), await client.submit("writes")
            await until(lambda: len(runs) == 2, seconds=SECONDS)
            await psql.execute(TOUCH, [[locked]])
            go.set()
            assert (await client.ended(free, timeout=SECONDS)).state is State.SUCCESS
            await until(lambda: "task.locked" in names(events), seconds=SECONDS)
            assert await client.effects(locked) == 0
            await psql.commit()
            assert (await client.ended(locked, timeout=SECONDS)).state is State.SUCCESS
    assert await client.effects(locked) == 1


async def test_a_locked_table_is_an_outage(config: Config, client: Client) -> None:
    """Everything waits, no task is treated as the locked one, and all continues afterwards."""
    handlers = Handlers()
    with recorded() as events:
        async with person(config) as psql, working(config, handlers.app):
            ids = [await client.submit("waits") for _ in range(2)]
            await until(lambda: len(handlers.runs) == 2, seconds=SECONDS)
            later = [await client.submit("quick") for _ in range(2)]
            await psql.execute(b"lock table leaseq.tasks in access exclusive mode")
            handlers.go.set()
            await until(lambda: "ledger.unreachable" in names(events), seconds=SECONDS)
            await psql.commit()
            tasks = await client.all_ended([*ids, *later], timeout=SECONDS)
    assert {(task.state, task.attempt) for task in tasks} == {(State.SUCCESS, 1)}
    assert "task.locked" not in names(events)
