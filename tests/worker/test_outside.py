"""Handler code outside its own task reaches no part of the worker."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from leaseq import Context, Leaseq
from leaseq.config import Config
from leaseq.errors import Fenced
from leaseq.model import State, Task
from support.client import Client
from support.processes import TESTS, Service, Services, environment, send
from support.worker import working

ONCE = {"max_attempts": 1}


def said_by(task: Task) -> str:
    assert task.error is not None
    return str(msgspec.json.decode(task.error)["message"])


async def rogue(services: Services, *args: str) -> Service:
    """A worker for tests/apps/rogue.py, ready."""
    worker = await services.start("worker", "apps.rogue:app", "--processes", "1", *args)
    await worker.hear("worker.opened")
    return worker


async def test_progress_from_an_event_loop_of_its_own_is_written_by_the_workers(
    config: Config, client: Client
) -> None:
    app = Leaseq()

    @app.task
    def reports(ctx: Context, n: int) -> int:
        for step in range(3):
            asyncio.run(ctx.set_progress({"step": step}))
        return n

    async with working(config, app, concurrency=2):
        tasks = await client.all_ended([await client.submit("reports", n=n) for n in range(6)])
    assert {(task.state, task.progress) for task in tasks} == {(State.SUCCESS, b'{"step":2}')}


async def test_a_transaction_is_refused_where_it_would_hang(config: Config, client: Client) -> None:
    app = Leaseq()

    async def opens(ctx: Context) -> None:
        async with ctx.transaction() as tx:
            await tx.execute("select 1")

    @app.task
    def opens_elsewhere(ctx: Context) -> None:
        asyncio.run(opens(ctx))

    @app.task
    async def blocks(ctx: Context) -> None:
        with ctx.transaction() as tx:
            tx.execute("select 1")

    @app.task
    async def lends(ctx: Context) -> None:
        async with ctx.transaction() as tx:

            async def use() -> None:
                await tx.execute("select 1")

            await asyncio.to_thread(lambda: asyncio.run(use()))

    async with working(config, app, concurrency=1):
        for task_type, said in (
            ("opens_elsewhere", "in the event loop of the worker only"),
            ("blocks", "use `async with ctx.transaction()` here"),
            ("lends", "in the event loop of the worker only"),
        ):
            task = await client.ended(await client.submit(task_type, options=ONCE))
            assert task.state is State.FAILED
            assert said in said_by(task)


@pytest.mark.parametrize(
    "value",
    [float("nan"), object(), "\0", {"deep": float("inf")}],
    ids=["nan", "object", "nul", "inf"],
)
async def test_progress_that_cannot_be_stored_is_the_handlers_error(
    config: Config, client: Client, value: object
) -> None:
    app = Leaseq()

    @app.task
    async def reports(ctx: Context) -> str:
        with pytest.raises(ValueError, match="the progress"):
            await ctx.set_progress(value)
        return "refused"

    async with working(config, app):
        assert (
            await client.ended(await client.submit("reports", options=ONCE))
        ).state is State.SUCCESS


async def test_a_context_is_of_no_use_once_its_attempt_has_ended(
    config: Config, client: Client
) -> None:
    app = Leaseq()
    kept: list[Context] = []

    @app.task
    async def keeps(ctx: Context) -> None:
        assert not ctx.stopping
        kept.append(ctx)

    async with working(config, app):
        task_id = await client.submit("keeps")
        await client.ended(task_id)
        (ctx,) = kept
        assert ctx.stopping
        assert ctx.task_id == task_id
        with pytest.raises(Fenced, match="this attempt is over"):
            await ctx.set_progress(1)
        with pytest.raises(Fenced):
            async with ctx.transaction():
                pass


async def test_a_pool_of_forked_processes_can_be_ended_and_gives_its_slot_back(
    services: Services, client: Client
) -> None:
    worker = await rogue(services, "--concurrency", "1")
    await client.submit("pools", seconds=1.0, options=ONCE | {"timeout_seconds": 0.3})
    await worker.hear("handler.overran")
    assert (await client.ended(await client.submit("nap", seconds=0))).state is State.SUCCESS
    assert not worker.heard("worker.exhausted")
    assert not worker.heard("child.died")


@pytest.mark.parametrize("how", ["progress", "transaction", "exit"])
async def test_a_forked_copy_of_a_handler_reaches_nothing_of_the_worker(
    services: Services, client: Client, how: str
) -> None:
    worker = await rogue(services)
    neighbour = await client.submit("nap", seconds=2)
    await worker.hear("attempt.started", task_id=neighbour)
    task = await client.ended(await client.submit("forks", how=how, options=ONCE))
    expected = (
        "nothing was asked" if how == "exit" else "a forked process has no connection to the worker"
    )
    assert (task.state, task.attempt) == (State.SUCCESS, 1)
    assert expected in str(msgspec.json.decode(task.progress or b"null")["said"])
    assert (await client.ended(neighbour)).attempt == 1
    assert len(worker.heard("attempt.settled")) == 2, "and none of them twice"
    assert not worker.heard("child.died")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_a_signal_to_its_process_group_reaches_no_other_worker_process(
    services: Services, client: Client, number: signal.Signals
) -> None:
    worker = await services.start(
        "worker", "apps.rogue:app", "--processes", "2", "--concurrency", "1"
    )
    await worker.hear("worker.opened", count=2)
    neighbour = await client.submit("nap", seconds=5)
    await worker.hear("attempt.started", task_id=neighbour)
    guilty = await client.submit("signals_its_group", number=int(number))
    if number == signal.SIGTERM:
        task = await client.ended(guilty)
        assert (task.state, task.attempt) == (State.SUCCESS, 1)
    else:
        await worker.hear("child.died")
    task = await client.ended(neighbour)
    assert (task.state, task.attempt) == (State.SUCCESS, 1)
    assert not worker.heard("supervisor.draining")
    assert worker.process.returncode is None


async def test_records_that_cannot_be_formatted_are_logged_as_they_are(
    services: Services, client: Client
) -> None:
    worker = await rogue(services)
    task = await client.ended(await client.submit("logs_oddly", options=ONCE))
    assert task.state is State.SUCCESS, task.error
    lines = await worker.hear("%d")
    assert (lines[0]["args"], lines[0]["unformatted"]) == ("('no number',)", "TypeError")
    assert worker.heard("too few %s %s")
    assert worker.heard("half a pair \\ud800")
    assert worker.heard("an exception that cannot be shown")
    assert [
        said
        for said in worker.said
        if said["event"].startswith("large xxx") and len(said["event"]) < 10_000
    ]
    assert len([said for said in worker.said if said.get("logger") == "rogue"]) == 7


async def test_a_reader_of_logs_that_has_stopped_stops_neither_work_nor_drain(
    config: Config, client: Client
) -> None:
    """64 KiB into a pipe that nothing reads."""
    reading, writing = os.pipe()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "leaseq", "worker", "apps.rogue:app"),
        env=environment(config),
        cwd=TESTS,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=writing,
        stderr=writing,
        start_new_session=True,
    )
    os.close(writing)
    try:
        ids = [await client.submit("prints", lines=50) for _ in range(20)]
        tasks = await client.all_ended(ids)
        assert {(task.state, task.attempt) for task in tasks} == {(State.SUCCESS, 1)}
        os.set_blocking(reading, False)
        assert len(os.read(reading, 1 << 20)) > 60_000, "it was full"
        tasks = await client.all_ended([await client.submit("prints", lines=1)])
        seen = os.read(reading, 1 << 20)
        assert b'"event":"log.dropped"' in seen
        await client.all_ended([await client.submit("prints", lines=500)])
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(40):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        os.close(reading)


async def test_a_blocked_child_does_not_outlive_its_supervisor_for_long(
    services: Services, client: Client, eventually: Callable[..., Any]
) -> None:
    services.config = replace(
        services.config, loop_stall_seconds=2.0, lease_seconds=2.0, heartbeat_seconds=0.5
    )
    worker = await rogue(services)
    await client.submit("blocks", seconds=600, options={"timeout_seconds": 900})
    await worker.hear("attempt.started")
    (child,) = worker.children
    send(worker.pid, signal.SIGKILL)

    async def gone() -> bool:
        return not is_running(child)

    await eventually(gone)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
