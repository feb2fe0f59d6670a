"""Endings that cannot be written as the handler wants them."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import psycopg
import pytest
from msgspec.structs import replace

from leaseq import Context, Leaseq, lifecycle
from leaseq.config import Config
from leaseq.loop import Pauses
from leaseq.model import Outcome, State, Task
from leaseq.observability.telemetry import recorded
from leaseq.safe_text.exceptions import MESSAGE_LIMIT, NAME_LIMIT, TRACEBACK_LIMIT, describe
from leaseq.worker.attempt import attempt, decide
from support.client import Client
from support.odd_exceptions import ODD, grouped
from support.servers import admin_url
from support.worker import until, working

ONCE = {"max_attempts": 1}


def raising(attempts: int) -> tuple[Leaseq, list[str]]:
    app, started = Leaseq(), []

    @app.task(max_attempts=attempts)
    async def raises(ctx: Context, what: str) -> None:
        started.append(ctx.task_id)
        exception = ODD[what]()
        raise exception

    return app, started


def error_of(task: Task) -> dict[str, Any]:
    assert task.error is not None
    error: dict[str, Any] = msgspec.json.decode(task.error)
    return error


@pytest.fixture
def config(config: Config) -> Config:
    """On a busy machine a statement may take seconds, and none is the subject here."""
    return replace(config, statement_timeout_seconds=20)


async def test_attempt_ends_once_with_any_exception(config: Config, client: Client) -> None:
    app, started = raising(attempts=1)
    with recorded() as events:
        async with working(config, app) as worker:
            ids = {what: await client.submit("raises", what=what, options=ONCE) for what in ODD}
            tasks = await client.all_ended([*ids.values()], timeout=180)
            await until(lambda: worker.running == 0, seconds=30)
    assert {
        what: task.state
        for what, task in zip(ids, tasks, strict=True)
        if task.state is not State.FAILED
    } == {}
    assert sorted(started) == sorted(ids.values())
    assert [event.fields for event in events if event.name == "loop.failed"] == []


async def test_an_odd_delay_is_a_retry_with_a_delay_that_can_be_kept(
    config: Config, client: Client
) -> None:
    app, started = raising(attempts=2)
    async with working(config, app):
        odd = [what for what in ODD if what.startswith("delay")]
        ids = {
            what: await client.submit("raises", what=what, options={"max_attempts": 2})
            for what in odd
        }

        async def all_tried() -> bool:
            return {(await client.find(task_id)).state for task_id in ids.values()} == {
                State.SCHEDULED
            }

        await until(all_tried, seconds=30)
    assert {
        what for what, task_id in ids.items() if (await client.find(task_id)).retry_count != 1
    } == set()
    assert sorted(started) == sorted(ids.values())


def test_a_description_is_of_bounded_size() -> None:
    try:
        enormous = ODD["an enormous name"]()
        raise enormous from grouped(50_000)
    except Exception as error:
        said = describe(error, "error")
    assert len(said.type) <= NAME_LIMIT
    assert len(said.message) <= MESSAGE_LIMIT
    assert 0 < len(said.traceback) <= TRACEBACK_LIMIT


def test_a_description_tells_causes_members_and_notes() -> None:
    try:
        try:
            raise KeyError("the cause")
        except KeyError as cause:
            group = ExceptionGroup(
                "several", [ValueError("one"), ExceptionGroup("more", [TypeError("two")])]
            )
            group.add_note("a note")
            raise group from cause
    except ExceptionGroup as error:
        trace = describe(error, "error").traceback
    told = [
        "KeyError: 'the cause'",
        "direct cause",
        "ExceptionGroup: ",
        "a note",
        "+ ValueError: one",
        "+ TypeError: two",
    ]
    positions = [trace.find(text) for text in told]
    assert -1 not in positions
    assert positions == sorted(positions)


async def refuse(client: Client, condition: str) -> None:
    """Let Postgres refuse to record such errors, as a database that lacks a character does."""
    async with await psycopg.AsyncConnection.connect(
        admin_url(client.config), autocommit=True
    ) as conn:
        await conn.execute(
            f"alter table leaseq.attempts add constraint refused check (not ({condition}))".encode()
        )


async def test_an_error_that_cannot_be_written_is_replaced_by_a_plain_one(
    config: Config, client: Client
) -> None:
    app, started = Leaseq(), []

    @app.task
    async def raises(ctx: Context, text: str) -> None:
        started.append(ctx.task_id)
        raise ValueError(text)

    await refuse(client, "error::text like '%€%'")
    async with working(config, app):
        odd = await client.submit("raises", text="10 €", options=ONCE)
        even = await client.submit("raises", text="10 EUR", options=ONCE)
        tasks = await client.all_ended([odd, even])
    assert [task.state for task in tasks] == [State.FAILED] * 2
    assert error_of(tasks[0])["code"] == "ending_unwritable"
    assert "refused" in error_of(tasks[0])["message"]
    assert error_of(tasks[1])["message"] == "10 EUR"
    assert sorted(started) == sorted([odd, even])
    assert [attempt.outcome for attempt in await client.attempts(odd)] == [Outcome.ERRORED]


async def test_an_attempt_that_no_ending_fits_is_not_run_again_until_one_does(
    config: Config, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "REFUSED_PAUSES", Pauses(0.1))
    app, started = raising(attempts=1)
    await refuse(client, "true")
    with recorded() as events:
        async with working(config, app) as worker:
            task_id = await client.submit("raises", what="NUL", options=ONCE)
            await until(
                lambda: len([e for e in events if e.name == "loop.failed"]) >= 3, seconds=15
            )
            worker.list_audit.wake()  # the sweep looks, too
            await until(
                lambda: len([e for e in events if e.name == "loop.failed"]) >= 5, seconds=15
            )
            await client.rows("alter table leaseq.attempts drop constraint refused")
            task = await client.ended(task_id)
    assert (task.state, task.attempt, started) == (State.FAILED, 1, [task_id])


@pytest.mark.parametrize("transaction", [False, True], ids=["alone", "in a transaction"])
async def test_a_fault_of_our_own_ends_the_attempt_and_is_counted(
    config: Config, client: Client, monkeypatch: pytest.MonkeyPatch, transaction: bool
) -> None:
    app, started = Leaseq(), []
    after = lifecycle.after

    @app.task
    async def works(ctx: Context) -> None:
        started.append(ctx.task_id)
        if transaction:
            async with ctx.transaction() as tx:
                await tx.execute(
                    "insert into effects values (%s, %s, 0)", (ctx.task_id, ctx.attempt)
                )

    def fails_once(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(decide, "after", after)
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(decide, "after", fails_once)
    async with working(config, app) as worker:
        task = await client.ended(await client.submit("works", options=ONCE))
        await until(lambda: worker.running == 0 and worker.slots.free == worker.slots.concurrency)
    assert (task.state, started) == (State.FAILED, [task.task_id])
    assert error_of(task)["code"] == "ending_unwritable"
    assert await client.effects(task.task_id) == 0


async def test_nothing_is_left_of_an_attempt_whose_ending_was_replaced(
    config: Config, client: Client
) -> None:
    app, gate = Leaseq(), asyncio.Event()

    @app.task
    async def raises(ctx: Context) -> None:
        await gate.wait()
        raise ValueError("€")

    await refuse(client, "error::text like '%€%'")
    gate.set()
    async with working(config, app, concurrency=2) as worker:
        ids = [await client.submit("raises", options=ONCE) for _ in range(6)]
        await client.all_ended(ids)
        await until(
            lambda: worker.running == 0 and worker.slots.free == 2 and worker.slots.unsettled == 0
        )
