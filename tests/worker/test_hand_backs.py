"""Hand-backs by a task slow down, and those by a worker cost nothing."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from msgspec.structs import replace

from leaseq import Context, Leaseq
from leaseq.config import Config
from leaseq.model import Lane, Outcome, State, Task
from leaseq.observability.telemetry import recorded
from leaseq.worker import expedite
from support.client import Client
from support.ledger import promote_due
from support.worker import promoting, until, working


def code_of(task: Task) -> str:
    assert task.error is not None
    return str(msgspec.json.decode(task.error)["code"])


def knowing(name: str) -> Leaseq:
    app = Leaseq()

    @app.task(name=name)
    async def handler(ctx: Context) -> str:
        return "done"

    return app


async def test_an_unknown_type_slows_down_in_one_row(config: Config, client: Client) -> None:
    config = replace(config, hand_back_base_seconds=0.05, hand_back_cap_seconds=60.0)
    with recorded() as events:
        async with working(config, knowing("other")), promoting(client.engine):
            task_id = await client.submit("removed")

            async def handed_back_often() -> bool:
                return (await client.find(task_id)).hand_back_count >= 5

            await until(handed_back_often, seconds=30)
    task = await client.find(task_id)
    (row,) = await client.attempts(task_id)
    assert (row.attempt, row.last, row.outcome) == (1, task.attempt, Outcome.RELEASED)
    assert (task.retry_count, code_of(task)) == (0, "unknown_type")
    settled = [event.fields for event in events if event.name == "attempt.settled"]
    assert {fields["outcome"] for fields in settled} == {Outcome.RELEASED}
    # The fifth wait alone is at least 0.4 s.
    assert row.finished_at.timestamp() - row.started_at.timestamp() >= 0.025 + 0.05 + 0.1 + 0.2


async def test_a_worker_that_knows_the_type_makes_its_tasks_due(
    config: Config, client: Client
) -> None:
    config = replace(config, hand_back_base_seconds=300.0, hand_back_cap_seconds=300.0)
    async with promoting(client.engine):
        async with working(config, knowing("other"), concurrency=10):
            ids = await client.submit_many("later", 40)

            async def all_wait() -> bool:
                return not await client.rows(
                    "select 1 from leaseq.tasks where state <> 'SCHEDULED'"
                )

            await until(all_wait, seconds=30)
        with recorded() as events:
            async with working(config, knowing("later"), concurrency=10):
                tasks = await client.all_ended(ids)
    assert {(task.state, task.retry_count) for task in tasks} == {(State.SUCCESS, 0)}
    assert sum(event.fields["count"] for event in events if event.name == "task.expedited") == 40


async def test_a_task_handed_back_while_its_worker_opens_is_found_by_the_second_look(
    config: Config, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expedite, "EXPEDITE_AGAIN_SECONDS", 0.5)
    config = replace(config, hand_back_base_seconds=300.0, hand_back_cap_seconds=300.0)
    async with promoting(client.engine):
        async with working(config, knowing("other")):
            task_id = await client.submit("later")

            async def waits() -> bool:
                return (await client.find(task_id)).state is State.SCHEDULED

            await until(waits, seconds=30)
        # As if it had not been there yet when the worker looked for the first time.
        await client.rows("update leaseq.scheduled set awaited_type = null")
        async with working(config, knowing("later")) as worker:
            await until(lambda: worker.running == 0)
            await asyncio.sleep(0.1)
            await client.rows("update leaseq.scheduled set awaited_type = 'later'")
            assert (await client.ended(task_id)).state is State.SUCCESS


async def test_expedite_goes_on_where_another_died(
    config: Config, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(config, hand_back_base_seconds=300.0, hand_back_cap_seconds=300.0)
    async with working(config, knowing("other"), concurrency=10):
        ids = await client.submit_many("later", 12)

        async def all_wait() -> bool:
            return not await client.rows("select 1 from leaseq.tasks where state <> 'SCHEDULED'")

        await until(all_wait, seconds=30)
    assert await client.engine.stores.task_types.expedite(["later"], ["default"], limit=5) == 5, (
        "and then it died"
    )
    monkeypatch.setattr(expedite, "EXPEDITE_BATCH", 3)
    async with promoting(client.engine), working(config, knowing("later")):
        tasks = await client.all_ended(ids)
    assert {task.state for task in tasks} == {State.SUCCESS}


async def test_drains_neither_delay_nor_count(config: Config, client: Client) -> None:
    app, started = Leaseq(), asyncio.Event()

    @app.task
    async def waits() -> None:
        started.set()
        await asyncio.sleep(600)

    task_id = await client.submit("waits")
    for attempt in range(1, 5):
        started.clear()
        async with working(config, app) as worker:
            async with asyncio.timeout(60):
                await started.wait()
            await worker.drain(0.0, hurry=asyncio.Event())
        task = await client.find(task_id)
        # A claim that is still on its way while the worker drains brings an attempt, too.
        assert (task.state, task.hand_back_count, task.attempt >= attempt) == (
            State.PENDING,
            0,
            True,
        )
    assert {row.hand_backs for row in await client.attempts(task_id)} == {None}


async def test_a_suspect_is_handed_over_at_once_and_then_more_slowly(
    config: Config, client: Client
) -> None:
    """Where deliveries reach the wrong lane again and again."""
    async with working(config, knowing("later")):
        task_id = await client.submit("later", options={"delay_seconds": 0.5})
        await client.rows("update leaseq.tasks set loss_count = 2")
        await client.rows("update leaseq.scheduled set run_at = now()")
        await promote_due(client.engine.stores.tasks, limit=1)
        dispatcher = client.engine.stores.dispatcher
        for count, state in ((1, State.PENDING), (2, State.SCHEDULED)):
            await dispatcher.push("default", [task_id], lane=Lane.NORMAL)

            async def handed_over(count: int = count) -> bool:
                return (await client.find(task_id)).hand_back_count == count

            await until(handed_over, seconds=15)
            task = await client.find(task_id)
            assert (task.state, code_of(task)) == (state, "isolated")
    (row,) = await client.attempts(task_id)
    assert row.hand_backs == 2
