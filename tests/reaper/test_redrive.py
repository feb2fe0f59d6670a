"""A bulk redrive shares a full lane with new tasks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from leaseq.codec import new_task_id
from leaseq.config import Config
from leaseq.errors import ServerUnreachable
from leaseq.model import DEFAULT_TENANT, Lane, State
from leaseq.operations.open_engine import open_engine
from leaseq_reaper.duties.promote import Promote
from leaseq_reaper.duties.refill import Refill
from support.dispatch import KEYS
from support.ledger import RETENTION, errored, open_worker, submission
from support.proxy import READY_FOR_QUERY, ProxyTo
from support.reaper import WINDOW, Stage

OLD = 20 * WINDOW
NORMAL = KEYS.ready("default", Lane.NORMAL)


def aged(task_id: str, days: int) -> str:
    """The same id, made so many days earlier."""
    number = int(task_id.replace("-", "")[:12], 16) - int(
        timedelta(days=days).total_seconds() * 1000
    )
    return f"{number:012x}"[:8] + "-" + f"{number:012x}"[8:] + task_id[13:]


async def failed(stage: Stage, count: int) -> list[str]:
    """Tasks of three days ago that have failed."""
    batch = sorted(
        (submission(task_id=aged(new_task_id(), 3)) for _ in range(count)),
        key=lambda one: one.task_id,
    )
    await stage.stores.tasks.submit(batch, retention_seconds=RETENTION)
    claimed = await stage.stores.tasks.claim(
        [one.task_id for one in batch], worker_id=await open_worker(stage.stores.workers)
    )
    await stage.stores.tasks.settle([errored(one.claim, then=State.FAILED) for one in claimed])
    return [one.task_id for one in batch]


async def redrive(stage: Stage, ids: list[str]) -> None:
    for task_id in ids:
        await stage.engine.for_tenant(DEFAULT_TENANT).redrive(task_id)


async def test_a_bulk_redrive_in_a_full_lane_does_not_hold_up_new_tasks(narrow: Stage) -> None:
    old = await failed(narrow, OLD)
    others = await narrow.submit(WINDOW)
    new = others + await narrow.submit(2 * WINDOW)
    await redrive(narrow, old)
    cursor = await narrow.backlog()
    assert cursor is not None
    assert cursor >= new[0]

    promote, refill = Promote(narrow.engine.stores), Refill(narrow.engine.stores)
    ran: list[str] = []
    for _ in range(200):
        ran += [value.decode() for value in await narrow.redis.lpop(NORMAL, 3) or [] if value]
        await promote.run_once()
        await refill.run_once()
        assert len(await narrow.lane()) <= 2 * WINDOW
    assert sorted(ran) == sorted(old + new)
    at = max(ran.index(task_id) for task_id in new)
    # Both move: of what ran until the last of the new ones, about half was old.
    assert at < 8 * WINDOW
    assert sum(task_id in set(old) for task_id in ran[:at]) >= WINDOW


async def test_due_tasks_and_backlog_take_turns(narrow: Stage) -> None:
    """Any due tasks: retries of a long outage, for example."""
    backlog = await narrow.submit(5 * WINDOW)
    # Older than the backlog, as retries are.
    batch = [
        submission(task_id=aged(new_task_id(), 1), delay_seconds=60.0) for _ in range(5 * WINDOW)
    ]
    await narrow.stores.tasks.submit(batch, retention_seconds=RETENTION)
    await narrow.plain.execute("update leaseq.scheduled set run_at = now() - interval '1 hour'")
    due = {one.task_id for one in batch}
    promote, refill = Promote(narrow.engine.stores), Refill(narrow.engine.stores)
    ran: list[str] = []
    for _ in range(100):
        ran += [value.decode() for value in await narrow.redis.lpop(NORMAL, 3) or [] if value]
        await promote.run_once()
        await refill.run_once()
    half = ran[: 5 * WINDOW]
    assert sum(task_id not in due for task_id in half) >= 2 * WINDOW
    assert sorted(ran) == sorted([*backlog, *due])


async def test_a_redrive_needs_no_push_of_its_caller(
    narrow: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the caller had been killed before its push."""
    (old,) = await failed(narrow, 1)
    monkeypatch.setattr(narrow.engine.pusher, "offer", lambda *_, **__: None)
    assert (await narrow.engine.for_tenant(DEFAULT_TENANT).redrive(old)).state is State.SCHEDULED
    await Promote(narrow.engine.stores).run_once()
    assert await narrow.lane() == [old]


async def test_a_redrive_whose_answer_is_lost_is_delivered(
    config: Config, narrow: Stage, proxy_to: ProxyTo, monkeypatch: pytest.MonkeyPatch
) -> None:
    (old,) = await failed(narrow, 1)
    proxy = await proxy_to(str(config.postgres_url))
    async with open_engine(
        msgspec.structs.replace(config, postgres_url=proxy.url), pool_size=1
    ) as engine:
        redrive = engine.stores.tasks.redrive

        async def unanswered(*args: Any, **said: Any) -> Any:
            _ = proxy.lose_reply(old.encode(), until=READY_FOR_QUERY)
            return await redrive(*args, **said)

        monkeypatch.setattr(engine.stores.tasks, "redrive", unanswered)
        with pytest.raises(ServerUnreachable):
            await engine.for_tenant(DEFAULT_TENANT).redrive(old)
    await Promote(narrow.engine.stores).run_once()
    assert await narrow.lane() == [old]


async def test_a_redrive_that_waits_can_be_cancelled_and_redriven(narrow: Stage) -> None:
    (old,) = await failed(narrow, 1)
    await narrow.submit(2 * WINDOW)
    assert (await narrow.engine.for_tenant(DEFAULT_TENANT).redrive(old)).state is State.SCHEDULED
    assert await narrow.engine.for_tenant(DEFAULT_TENANT).cancel(old) is State.CANCELLED
    assert (await narrow.engine.for_tenant(DEFAULT_TENANT).redrive(old)).state is State.SCHEDULED
    task = await narrow.task(old)
    assert (task.retry_count, task.error, task.finished_at) == (0, None, None)
    assert abs(task.run_at - datetime.now(UTC)) < timedelta(hours=1)
