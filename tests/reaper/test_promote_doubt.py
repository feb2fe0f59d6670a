"""Promotions without an answer, late promotions, and locked due tasks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import psycopg
import pytest

from leaseq.config import Config
from leaseq.errors import ServerUnreachable
from leaseq.ledger.due_tasks import Listed, Promoted
from leaseq.model import Lane, State
from leaseq.operations.engine import Engine
from leaseq.operations.open_engine import open_engine
from leaseq_reaper.duties import promote
from leaseq_reaper.duties.promote import Promote
from support.dispatch import KEYS
from support.ledger import scheduled
from support.proxy import READY_FOR_QUERY, Proxy, ProxyTo, Trap
from support.reaper import QUEUE, WINDOW, FakeClock, Stage
from support.servers import person


@pytest.fixture
async def proxy(config: Config, proxy_to: ProxyTo) -> Proxy:
    """The way to Postgres of the reaper under test."""
    assert config.postgres_url is not None
    return await proxy_to(config.postgres_url)


@pytest.fixture
async def far(config: Config, proxy: Proxy) -> AsyncIterator[Engine]:
    """The engine of that reaper, with narrow lanes and a short time-out."""
    given = msgspec.structs.replace(
        config, postgres_url=proxy.url, dispatch_window=WINDOW, statement_timeout_seconds=1.0
    )
    async with open_engine(given, pool_size=1) as engine:
        yield engine


@pytest.fixture
async def duty(far: Engine, narrow: Stage, clock: FakeClock) -> Promote:
    """A reaper whose statements are prepared, so that the next exchange is the promotion itself."""
    duty = Promote(far.stores, clock=clock)
    await due(narrow, 1, queue="another")
    await duty.run_once()
    return duty


async def due(stage: Stage, count: int, *, queue: str = QUEUE) -> list[str]:
    """So many tasks that are SCHEDULED and due, in the order in which they became due."""
    ids = await stage.submit(count, push=False, quiet=False, delay_seconds=60.0, queue=queue)
    await stage.plain.execute(
        "update leaseq.scheduled set run_at = now() where task_id = any(%s::uuid[])", [ids]
    )
    return ids


def lose_answer(engine: Engine, monkeypatch: pytest.MonkeyPatch, proxy: Proxy) -> list[Trap]:
    """Lose the answer of the next promotion, once its tasks are listed."""
    scheduled = engine.stores.due_tasks
    list_due, traps = scheduled.list_due, list[Trap]()

    async def armed(places: Any) -> list[Listed]:
        listed = await list_due(places)
        monkeypatch.setattr(scheduled, "list_due", list_due)
        traps.append(proxy.lose_reply(listed[0].task_ids[0].encode(), until=READY_FOR_QUERY))
        return listed

    monkeypatch.setattr(scheduled, "list_due", armed)
    return traps


def hold_promotion(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[Sequence[Listed]]:
    """Keep the next promotion under way until its reaper has given it up; returns what it is to
    promote."""
    scheduled = engine.stores.due_tasks
    promotion, late = scheduled.promote, list[Sequence[Listed]]()

    async def held(listed: Sequence[Listed]) -> list[Promoted]:
        monkeypatch.setattr(scheduled, "promote", promotion)
        late.append(listed)
        raise ServerUnreachable("Postgres does not answer")

    monkeypatch.setattr(scheduled, "promote", held)
    return late


async def stranded(stage: Stage, ids: list[str]) -> set[str]:
    """The tasks that are PENDING and not in their lane."""
    states = await stage.stores.tasks.find_states(ids)
    return {task_id for task_id in ids if states[task_id] is State.PENDING} - set(
        await stage.lane()
    )


async def test_a_promotion_that_arrives_late_takes_no_other_task(
    narrow: Stage, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await due(narrow, 4 * WINDOW)
    duty = Promote(narrow.engine.stores, clock=clock)
    late = hold_promotion(narrow.engine, monkeypatch)
    with pytest.raises(ServerUnreachable):
        await duty.run_once()
    await duty.run_once()
    assert await narrow.lane() == ids[:WINDOW]

    await narrow.stores.due_tasks.promote(late[0])
    assert await stranded(narrow, ids) == set()
    states = await narrow.stores.tasks.find_states(ids)
    assert [states[task_id] for task_id in ids] == [State.PENDING] * WINDOW + [
        State.SCHEDULED
    ] * 3 * WINDOW


async def test_task_of_a_late_promotion_is_delivered(
    narrow: Stage, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lane is full in the meantime, so that no pass promotes them again."""
    ids = await due(narrow, 5)
    duty = Promote(narrow.engine.stores, clock=clock)
    late = hold_promotion(narrow.engine, monkeypatch)
    with pytest.raises(ServerUnreachable):
        await duty.run_once()
    others = await narrow.submit(WINDOW)
    await duty.run_once()
    assert await narrow.lane() == others

    await narrow.stores.due_tasks.promote(late[0])
    assert await stranded(narrow, ids) == set(ids)
    await narrow.redis.delete(KEYS.ready(QUEUE, Lane.NORMAL))
    clock.now += promote.DOUBT_SECONDS
    await duty.run_once()
    assert await narrow.lane() == ids


async def test_of_two_reapers_one_loses_an_answer_and_no_task_is_stranded(
    narrow: Stage, far: Engine, duty: Promote, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one has promoted in the meantime what this one had listed."""
    ids = await due(narrow, 4 * WINDOW)
    other = Promote(narrow.engine.stores)
    traps = lose_answer(far, monkeypatch, proxy)
    listing = far.stores.due_tasks.list_due

    async def overtaken(places: Any) -> list[Listed]:
        listed = await listing(places)
        await other.run_once()
        return listed

    monkeypatch.setattr(far.stores.due_tasks, "list_due", overtaken)
    with pytest.raises(ServerUnreachable):
        await duty.run_once()
    assert traps[0].sprung.is_set()
    await duty.run_once()
    assert await stranded(narrow, ids) == set()
    assert set(ids[:WINDOW]) <= set(await narrow.lane())


async def test_a_locked_task_holds_up_no_other_one(stage: Stage, clock: FakeClock) -> None:
    ids = {queue: await due(stage, 5, queue=queue) for queue in ("a", "b", "c")}
    locked = ids["a"][3]
    duty = Promote(stage.engine.stores, clock=clock)
    async with locking(stage, [locked]):
        await duty.run_once()
        assert await stage.lane(queue="a") == [task_id for task_id in ids["a"] if task_id != locked]
        assert [await stage.lane(queue=queue) for queue in ("b", "c")] == [ids["b"], ids["c"]]
        assert (await stage.task(locked)).state is State.SCHEDULED
    await duty.run_once()
    assert (await stage.lane(queue="a"))[-1] == locked


async def test_a_queue_whose_row_is_locked_holds_up_no_task(stage: Stage, clock: FakeClock) -> None:
    """As while an operator pauses it in psql."""
    ids = {queue: await due(stage, 2, queue=queue) for queue in ("a", "b")}
    async with await psycopg.AsyncConnection.connect(str(stage.engine.config.postgres_url)) as conn:
        await conn.execute("update leaseq.queues set paused = paused where name = 'a'")
        await Promote(stage.engine.stores, clock=clock).run_once()
        assert [await stage.lane(queue=queue) for queue in ("a", "b")] == [ids["a"], ids["b"]]


async def test_more_locked_tasks_than_a_lane_has_room_for_hold_up_no_other_one(
    narrow: Stage, clock: FakeClock
) -> None:
    ids = await due(narrow, 3 * WINDOW)
    async with locking(narrow, ids[: WINDOW + 3]):
        await Promote(narrow.engine.stores, clock=clock).run_once()
        assert await narrow.lane() == ids[WINDOW + 3 : 2 * WINDOW + 3]


async def test_due_row_without_a_task_is_forgotten(stage: Stage, clock: FakeClock) -> None:
    """A locked task is not gone."""
    gone, locked, last = await due(stage, 3)
    await stage.plain.execute("delete from leaseq.tasks where id = %s", [gone])
    async with locking(stage, [locked]):
        await Promote(stage.engine.stores, clock=clock).run_once()
        assert await stage.lane() == [last]
        assert await scheduled(stage.plain) == {locked}


@asynccontextmanager
async def locking(stage: Stage, ids: list[str]) -> AsyncIterator[None]:
    """As an operator who has changed tasks and not committed yet."""
    async with person(stage.engine.config) as conn:
        await conn.execute(
            "update leaseq.tasks set priority = priority where id = any(%s::uuid[])", [ids]
        )
        yield
