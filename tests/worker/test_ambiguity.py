"""A worker whose statement may or may not have been carried out.

The answer is lost, or the command is: to the worker both look alike. In both cases there is one
attempt that counts, one effect, and no retry is charged.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from leaseq import Context, Leaseq
from leaseq.config import Config
from leaseq.dispatch.scripts import SCRIPTS
from leaseq.model import Outcome, State
from leaseq.observability.telemetry import Event, recorded
from leaseq.worker import cancel_watch
from leaseq_chaos.pace import Pace
from support.client import Client
from support.ledger import RETENTION, submission
from support.processes import Services
from support.proxy import READY_FOR_QUERY, Proxy, ProxyTo, Trap
from support.servers import at
from support.worker import promoting, until, working

BOTH = pytest.mark.parametrize("done", [True, False], ids=["carried out", "never arrived"])


class Scene:
    """A worker behind a proxy, and a handler that waits to be let go."""

    def __init__(self, client: Client, proxy: Proxy, events: list[Event]) -> None:
        self.client = client
        self.proxy = proxy
        self.events = events
        self.go = asyncio.Event()

    def lose(self, needle: bytes, *, done: bool) -> Trap:
        return (
            self.proxy.lose_reply(needle, until=READY_FOR_QUERY)
            if done
            else self.proxy.lose_command(needle)
        )

    def count(self, name: str) -> int:
        return sum(event.name == name for event in self.events)

    async def started(self) -> None:
        await until(lambda: self.count("attempt.started") == 1)


@pytest.fixture
async def scene(
    config: Config, client: Client, proxy_to: ProxyTo, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Scene]:
    # The watch for cancel requests names running tasks as well, and would spring the trap.
    monkeypatch.setattr(cancel_watch, "CANCEL_WATCH_SECONDS", 3600)
    assert config.postgres_url is not None
    proxy = await proxy_to(config.postgres_url)
    with recorded() as events:
        scene = Scene(client, proxy, events)
        async with working(at(config, proxy.url), handlers(scene)):
            yield scene


def handlers(scene: Scene) -> Leaseq:
    app = Leaseq()

    @app.task
    async def write(ctx: Context) -> str:
        """Its effect commits with the task."""
        async with ctx.transaction() as tx:
            await tx.execute("insert into effects values (%s, %s, 0)", (ctx.task_id, ctx.attempt))
        await scene.go.wait()
        return "written"

    @app.task
    async def wait(ctx: Context, fails: bool = False) -> str:
        """No transaction: its settle is a statement of its own."""
        await scene.go.wait()
        if fails:
            raise ValueError
        return "waited"

    return app


@BOTH
async def test_claim_with_lost_reply(scene: Scene, done: bool) -> None:
    scene.go.set()
    client = scene.client
    wanted = submission(type="write", payload=b"{}")
    task_id = wanted.task_id
    trap = scene.lose(task_id.encode(), done=done)
    await client.engine.submit(wanted)
    task = await client.ended(task_id)
    assert trap.sprung.is_set()
    assert (task.state, task.attempt, task.retry_count) == (State.SUCCESS, 1, 0)
    assert scene.count("attempt.started") == 1
    assert scene.count("attempt.ambiguous") == (1 if done else 0), (
        "nothing was claimed, nothing is in doubt"
    )
    assert await client.effects(task_id) == 1
    assert await client.attempts(task_id) == []


@BOTH
@pytest.mark.parametrize("fails", [False, True], ids=["success", "retry"])
async def test_settle_with_lost_reply(scene: Scene, done: bool, fails: bool) -> None:
    client = scene.client
    task_id = await client.submit("wait", fails=fails)
    await scene.started()
    trap = scene.lose(task_id.encode(), done=done)
    scene.go.set()
    await until(lambda: scene.count("attempt.settled") == 1, seconds=10)
    assert trap.sprung.is_set()
    task = await client.find(task_id)
    expected = (State.SCHEDULED, 1, 1) if fails else (State.SUCCESS, 1, 0)
    assert (task.state, task.attempt, task.retry_count) == expected
    assert scene.count("ledger.unreachable") == 1
    assert scene.count("attempt.ambiguous") == (1 if done else 0), (
        "what had not counted was simply written again"
    )
    assert scene.count("attempt.fenced") == 0
    assert len(await client.attempts(task_id)) == (1 if fails else 0)


@BOTH
async def test_the_commit_of_a_handlers_transaction(scene: Scene, done: bool) -> None:
    client = scene.client
    task_id = await client.submit("write")
    await scene.started()
    trap = scene.lose(b"COMMIT\0", done=done)
    scene.go.set()
    async with promoting(client.engine):
        task = await client.ended(task_id)
    assert trap.sprung.is_set()
    assert (task.state, task.retry_count, task.loss_count, task.crash_count) == (
        State.SUCCESS,
        0,
        0,
        0,
    )
    await until(lambda: scene.count("attempt.ambiguous") == 1)
    assert await client.effects(task_id) == 1
    # Where it had not been committed, it was handed back free of charge, and run again.
    assert task.attempt == (1 if done else 2)
    assert [a.outcome for a in await client.attempts(task_id)] == (
        [] if done else [Outcome.RELEASED]
    )


@BOTH
async def test_the_settle_inside_a_handlers_transaction(scene: Scene, done: bool) -> None:
    """Before the COMMIT nothing is in doubt, and the worker cannot know that: it finds out."""
    client = scene.client
    task_id = await client.submit("write")
    await scene.started()
    await until(lambda: left_its_block(client))
    trap = (
        scene.proxy.lose_reply(task_id.encode(), until=b"Z\0\0\0\5T")
        if done
        else scene.proxy.lose_command(task_id.encode())
    )
    scene.go.set()
    async with promoting(client.engine):
        task = await client.ended(task_id)
    assert trap.sprung.is_set()
    assert (task.state, task.attempt, task.retry_count) == (State.SUCCESS, 2, 0)
    assert await client.effects(task_id) == 1


async def left_its_block(client: Client) -> bool:
    """The last statement of the handler: what names the task after this is the settle."""
    return bool(await client.rows("select 1 from pg_stat_activity where query like 'RELEASE%%'"))


async def test_an_id_that_blmove_moved_without_a_word_runs_within_five_seconds(
    config: Config, client: Client, proxy_to: ProxyTo, pace: Pace
) -> None:
    """docs/pitfalls.md#p1, #p3: the reply is lost, the id lies in the list of a worker that lives.
    BLMOVE is not sent again."""
    assert config.redis_url is not None
    proxy = await proxy_to(config.redis_url)
    services = Services(replace(config, redis_url=proxy.url))
    try:
        worker = await services.worker("--queues", "default")  # one doorbell
        await client.ended(await client.submit("note"))
        wanted = submission(type="note", payload=b"{}")
        task_id = wanted.task_id
        await client.engine.stores.tasks.submit([wanted], retention_seconds=RETENTION)
        # Pushed while the worker waits in BLMOVE: a pull in between would take it, and a block that
        # lapses spring the trap.
        trap, before = proxy.lose_reply(b"BLMOVE"), proxy.sent.count(b"BLMOVE")
        await until(lambda: proxy.sent.count(b"BLMOVE") > before)
        await client.engine.stores.dispatcher.push("default", [task_id])
        await asyncio.wait_for(trap.sprung.wait(), 5)
        lost_at, began = proxy.sent.rindex(b"BLMOVE"), time.monotonic()
        task = await client.ended(task_id)
        assert time.monotonic() - began < 5.0 * pace.slowness
        assert (task.state, task.attempt) == (State.SUCCESS, 1)
        (stray,) = await worker.hear("delivery.stray")
        assert stray["task_id"] == task_id
        await until(lambda: proxy.sent.rindex(b"BLMOVE") > lost_at)
        until_next = bytes(proxy.sent[lost_at + 1 : proxy.sent.index(b"BLMOVE", lost_at + 1)])
        assert hashlib.sha1(SCRIPTS["pull"].encode()).hexdigest().encode() in until_next, (
            "it pulled before it waited anew"
        )
    finally:
        await services.destroy()
