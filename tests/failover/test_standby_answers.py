"""No answer acknowledges a commit that the standby does not have.

The standby is cut off with SIGSTOP to its WAL receiver: commits of the primary then wait, and reads
see what such a commit left behind when its wait was cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from leaseq import Context, Leaseq
from leaseq.config import Config
from leaseq.connections.postgres_connection import Connection
from leaseq.errors import ServerUnreachable
from leaseq.model import DEFAULT_TENANT, State, Submitted
from leaseq.observability.telemetry import Event, recorded
from leaseq.operations.open_engine import open_engine
from support.api import open_api, problem
from support.client import Client
from support.ledger import submission
from support.processes import PATIENCE
from support.servers import Pair, at
from support.worker import until, working

# Two servers of its own for each test.
BODY = {"type": "add", "payload": {"n": 1}}
KEY = {"Idempotency-Key": "order-1"}
WAITING = "select pid from pg_stat_activity where wait_event = 'SyncRep'"


@pytest.fixture
async def admin(pair: Pair) -> AsyncIterator[Connection]:
    """A connection of an administrator, whose statements write nothing."""
    pair.synchronous()
    async with await psycopg.AsyncConnection.connect(pair.primary.url, autocommit=True) as conn:
        yield conn


@pytest.fixture
def guarded(config: Config, pair: Pair) -> Config:
    return replace(at(config, pair.primary.url), statement_timeout_seconds=1)


async def waiting(admin: Connection) -> list[int]:
    """The sessions whose commit waits for the standby."""
    return [row[0] for row in await (await admin.execute(WAITING)).fetchall()]


async def until_waiting(admin: Connection, *, other_than: int | None = None) -> int:
    async with asyncio.timeout(PATIENCE):
        while True:
            for pid in await waiting(admin):
                if pid != other_than:
                    return pid
            await asyncio.sleep(0.01)


async def cancel_wait(admin: Connection, how: str = "pg_cancel_backend") -> None:
    """As an administrator does who finds a session that hangs."""
    pid = await until_waiting(admin)
    await admin.execute(f"select {how}(%s)".encode(), [pid])


async def insist(submit: Callable[[], Awaitable[Any]], accepted: Callable[[Any], bool]) -> Any:
    """Repeat a submission, as the answer asks, until it is accepted."""
    async with asyncio.timeout(PATIENCE):
        while True:
            answer = await submit()
            if accepted(answer):
                return answer
            await asyncio.sleep(0.05)


async def test_a_replay_over_http_waits_for_the_standby(
    guarded: Config, pair: Pair, admin: Connection
) -> None:
    async with open_api(guarded) as api:
        await insist(
            lambda: api.submit(BODY, Idempotency_Key="another"),
            lambda answer: answer.status_code == 202,
        )
        pair.cut_off()
        problem(await api.submit(BODY, **KEY), "server_unreachable")
        cursor = await admin.execute(
            "select count(*) from leaseq.idempotency_keys where key = 'order-1'"
        )
        assert await cursor.fetchall() == [(1,)], (
            "committed on the primary, on which nothing should rest"
        )
        problem(await api.submit(BODY, **KEY), "server_unreachable")
        pair.rejoin()
        answer = await insist(
            lambda: api.submit(BODY, **KEY), lambda answer: answer.status_code == 202
        )
    pair.primary.kill()
    pair.standby.promote()
    async with open_api(at(guarded, pair.standby.url)) as api:
        assert (await api.get(f"/api/tasks/{answer.json()['task_id']}"))[
            "task_id"
        ] == answer.json()["task_id"]


@pytest.mark.usefixtures("admin")
async def test_a_wait_that_was_given_up_is_not_held_against_the_next_statement(
    guarded: Config, pair: Pair
) -> None:
    async with open_engine(guarded, pool_size=1) as engine:
        await engine.submit(submission())
        pair.cut_off()
        wanted = submission()
        with pytest.raises(ServerUnreachable):
            await engine.submit(wanted)
        assert (await engine.for_tenant(DEFAULT_TENANT).find(wanted.task_id)).state is State.PENDING
        pair.rejoin()


@pytest.mark.parametrize("key", ["k", None])
@pytest.mark.parametrize("how", ["pg_cancel_backend", "pg_terminate_backend"])
async def test_a_commit_whose_wait_an_administrator_ends_is_not_acknowledged(
    guarded: Config, pair: Pair, admin: Connection, key: str | None, how: str
) -> None:
    wanted = submission(idempotency_key=key)
    async with open_engine(guarded) as engine:
        await engine.submit(submission(idempotency_key="another"))
        pair.cut_off()
        submitting = asyncio.create_task(engine.submit(wanted))
        await cancel_wait(admin, how)
        with pytest.raises(ServerUnreachable):
            await submitting

        async def again() -> Submitted | None:
            try:
                return await engine.submit(wanted)
            except ServerUnreachable:
                return None

        assert await again() is None, "the repetition reads what no standby has"
        pair.rejoin()
        await insist(again, lambda answer: answer is not None)
    pair.primary.kill()
    pair.standby.promote()
    async with open_engine(at(guarded, pair.standby.url)) as engine:
        assert (await engine.for_tenant(DEFAULT_TENANT).find(wanted.task_id)).state is State.PENDING


async def test_a_replay_inside_a_callers_transaction_makes_its_commit_wait(
    guarded: Config, pair: Pair, admin: Connection
) -> None:
    wanted = submission(idempotency_key="k")
    async with open_engine(guarded) as engine:
        pair.cut_off()
        with pytest.raises(ServerUnreachable):
            await engine.submit(wanted)
        async with await psycopg.AsyncConnection.connect(pair.primary.url) as conn:
            await engine.submit_within(
                submission(idempotency_key="k", fingerprint=wanted.fingerprint), conn
            )
            committing = asyncio.create_task(conn.commit())
            await until_waiting(admin)
            pair.rejoin()
            await asyncio.wait_for(committing, PATIENCE)


async def test_a_cancellation_that_was_only_read_waits_for_the_standby(
    guarded: Config, pair: Pair, admin: Connection
) -> None:
    async with open_engine(guarded) as engine:
        task_id = (await engine.submit(submission())).task_id
        pair.cut_off()
        for _ in range(2):
            with pytest.raises(ServerUnreachable):
                await engine.for_tenant(DEFAULT_TENANT).cancel(task_id)
        pair.rejoin()
        assert await engine.for_tenant(DEFAULT_TENANT).cancel(task_id) is State.CANCELLED


@pytest.mark.parametrize("verb", ["erase", "free_key"])
async def test_an_erasure_that_was_only_read_waits_for_the_standby(
    guarded: Config, pair: Pair, admin: Connection, verb: str
) -> None:
    """And so does the freeing of a key."""
    async with open_engine(guarded) as engine:
        task_id = (await engine.submit(submission(idempotency_key="order-1"))).task_id
        client = engine.for_tenant(DEFAULT_TENANT)
        await client.cancel(task_id)
        pair.cut_off()
        for _ in range(2):
            with pytest.raises(ServerUnreachable):
                await getattr(client, verb)(task_id)
        pair.rejoin()
        await getattr(client, verb)(task_id)
        task = await client.find(task_id)
        assert (task.erased_at or task.key_freed_at) is not None


def handlers(began: asyncio.Event, go: asyncio.Event) -> Leaseq:
    app = Leaseq()

    @app.task
    async def write(ctx: Context) -> None:
        async with ctx.transaction() as tx:
            await tx.execute(
                "insert into public.effects values (%s, %s, 0)", (ctx.task_id, ctx.attempt)
            )
        began.set()
        await go.wait()

    @app.task
    async def wait() -> None:
        began.set()
        await go.wait()

    return app


def count(events: list[Event], name: str) -> int:
    return sum(event.name == name for event in events)


@pytest.mark.parametrize("task_type", ["wait", "write"])
async def test_an_ending_whose_wait_was_cancelled_is_found_out_and_waits_again(
    guarded: Config, pair: Pair, admin: Connection, task_type: str
) -> None:
    began, go = asyncio.Event(), asyncio.Event()
    await admin.execute("create table public.effects (task_id text, attempt int, pid int)")
    with recorded() as events:
        async with open_engine(guarded) as engine, working(guarded, handlers(began, go)):
            task_id = await Client(engine, guarded).submit(task_type)
            await asyncio.wait_for(began.wait(), PATIENCE)
            pair.cut_off()
            go.set()
            first = await until_waiting(admin)
            await admin.execute("select pg_cancel_backend(%s)", [first])
            await until(lambda: _is_over(admin, task_id), seconds=PATIENCE)
            # The client that asked what had become of it waits again, and nothing is reported
            # meanwhile.
            await until_waiting(admin)
            assert count(events, "attempt.settled") == 0
            pair.rejoin()
            await until(lambda: count(events, "attempt.settled") == 1, seconds=PATIENCE)
    assert count(events, "attempt.ambiguous") == 1
    pair.primary.kill()
    pair.standby.promote()
    async with open_engine(at(guarded, pair.standby.url)) as engine:
        assert (await engine.for_tenant(DEFAULT_TENANT).find(task_id)).state is State.SUCCESS


async def _is_over(admin: Connection, task_id: str) -> bool:
    cursor = await admin.execute("select state from leaseq.tasks where id = %s", [task_id])
    return bool((await cursor.fetchall())[0][0] == "SUCCESS")
