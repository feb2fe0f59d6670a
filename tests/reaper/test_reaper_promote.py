"""Is everything that has become due delivered, once, and nothing before its time?"""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from fix_ledger import RETENTION, submission
from fix_reaper import Stage, named
from leaseq.config import Config
from leaseq.dispatch import keys
from leaseq.embedded import ValkeyServer
from leaseq.engine.engine import open_engine
from leaseq.errors import ServerUnreachable
from leaseq.model import Lane, Priority, State
from leaseq.telemetry import recorded
from leaseq_reaper import promote
from leaseq_reaper.promote import BATCH, Promote


async def due(stage: Stage, count: int, *, queue: str = "default", priority: Priority = Priority.NORMAL) -> list[str]:
    """So many SCHEDULED tasks that are due."""
    batch = [submission(queue=queue, priority=priority, delay_seconds=60.0) for _ in range(count)]
    await stage.stores.ledger.submit(batch, retention_seconds=RETENTION)
    ids = sorted(s.task_id for s in batch)
    await stage.plain.execute("update leaseq.scheduled set run_at = now() where task_id = any(%s::uuid[])", [ids])
    return ids


async def test_what_is_due_is_delivered_in_its_lane_and_what_is_not_waits(stage: Stage) -> None:
    normal = await due(stage, 3)
    high = await due(stage, 1, priority=Priority.HIGH)
    later = await stage.submit(delay_seconds=60.0, push=False, quiet=False)
    with recorded() as events:
        await Promote(stage.engine).run_once()
    assert await stage.lane() == normal
    assert await stage.lane(Lane.HIGH) == high
    assert (await stage.task(later[0])).state is State.SCHEDULED
    assert {fields["task_id"] for fields in named(events, "task.promoted")} == {*normal, *high}


async def test_a_pass_goes_on_while_full_batches_come_and_stops_somewhere(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promote, "BATCHES", 2)
    ids = await due(stage, 2 * BATCH + 1)
    duty = Promote(stage.engine)
    await duty.run_once()
    assert len(await stage.lane()) == 2 * BATCH
    await duty.run_once()
    assert sorted(await stage.lane()) == ids


async def test_two_at_once_deliver_each_task_once(stage: Stage) -> None:
    ids = await due(stage, 2000)
    await asyncio.gather(*(Promote(stage.engine).run_once() for _ in range(2)))
    assert sorted(await stage.lane()) == ids


async def test_without_redis_one_batch_is_promoted_and_delivered_when_it_is_back(
    config: Config, own_valkey: ValkeyServer, stage: Stage
) -> None:
    ids = await due(stage, BATCH + 10)
    async with open_engine(msgspec.structs.replace(config, redis_url=own_valkey.url)) as engine:
        duty = Promote(engine)
        own_valkey.kill()
        for _ in range(3):
            with pytest.raises(ServerUnreachable, match="Redis"):
                await duty.run_once()
        states = await stage.stores.ledger.find_states(ids)
        assert sum(state is State.PENDING for state in states.values()) == BATCH
        own_valkey.start()
        await duty.run_once()
        assert await engine.stores.survey.waiting("default", among=set(ids)) == set(ids)


async def test_a_lane_of_the_wrong_type_keeps_no_other_queue_waiting(stage: Stage) -> None:
    await due(stage, 1, queue="broken")
    ids = await due(stage, 1)
    await stage.redis.set(keys.ready("broken", Lane.NORMAL), "not a list")
    duty = Promote(stage.engine)
    with pytest.raises(ServerUnreachable, match="WRONGTYPE"):
        await duty.run_once()
    assert await stage.lane() == ids
    await duty.run_once()
