"""Tasks of schedules wait for the permits of their limits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from leaseq.codec import new_task_id
from leaseq.connections.postgres_pool import Pool
from leaseq.errors import FeatureNeedsUpgrade, LimitUnknown
from leaseq.ledger.limits import LimitLedger
from leaseq.limits import KNOWN_TRAITS, LIMITED, LimitBounds
from leaseq.observability.telemetry import recorded
from leaseq.schedules.plan import Overlap, Policy
from leaseq.schedules.schedule import Definition
from leaseq.schedules.timing import Timing
from leaseq_reaper.duties.admit import Admit
from support.clockwork import HOURLY, Clockwork
from support.ledger import holding, submission, until_blocked
from support.reaper import named

TASK: dict[str, Any] = {"limit": "stripe", "concurrency_key": "acme"}
ONE = LimitBounds(name="stripe", concurrency=1)
PENDING, SCHEDULED, CANCELLED = "PENDING", "SCHEDULED", "CANCELLED"


async def states(clockwork: Clockwork) -> list[str]:
    return sorted(state for _, state in await clockwork.tasks())


async def permits(clockwork: Clockwork) -> list[tuple[str, bool, bool]]:
    """The key of each row of `limited`, whether it is due, and whether it has a permit."""
    found = await clockwork.stage.plain.execute(
        "select key, due, admitted_at is not null from leaseq.limited order by 3, 1"
    )
    return await found.fetchall()


async def cancel_admitted(clockwork: Clockwork) -> None:
    found = await clockwork.stage.plain.execute(
        "select id::text from leaseq.tasks where state = 'PENDING'"
    )
    ids = [row[0] for row in await found.fetchall()]
    await clockwork.stage.stores.tasks.cancel(ids, tenant=None)


async def test_fired_tasks_wait_for_permits_and_never_exceed_the_limit(
    clockwork: Clockwork,
) -> None:
    await clockwork.stage.stores.limits.put(ONE)
    for name in ("a", "b", "c"):
        await clockwork.put(name, task=TASK)
    await clockwork.put("plain")
    with recorded() as events:
        await clockwork.reaper().run_once()
    assert await states(clockwork) == [PENDING, SCHEDULED, SCHEDULED, SCHEDULED]
    assert [fields["count"] for fields in named(events, "delivery.pushed")] == [1]
    submitted = [fields["state"] for fields in named(events, "task.submitted")]
    assert sorted(submitted) == [PENDING, SCHEDULED, SCHEDULED, SCHEDULED]
    assert await permits(clockwork) == [("acme", True, False)] * 3
    (plain,) = await clockwork.stage.lane()
    await clockwork.stage.stores.tasks.cancel([plain], tenant=None)
    admit = Admit(clockwork.stage.stores)
    for left in (2, 1, 0):
        await admit.run_once()
        await admit.run_once()
        found = await states(clockwork)
        assert (found.count(PENDING), found.count(SCHEDULED)) == (1, left)
        last = (await clockwork.stage.lane())[-1]
        task = await clockwork.stage.task(last)
        assert (task.limit_name, task.concurrency_key) == ("stripe", "acme")
        await cancel_admitted(clockwork)
    assert await permits(clockwork) == []


async def test_tasks_that_are_run_by_hand_wait_for_permits(clockwork: Clockwork) -> None:
    engine = clockwork.stage.engine
    await engine.limits.put(ONE)
    await clockwork.put(task=TASK, late=None)
    first = await engine.schedules.run_now("default", "report", request="r1")
    again = await engine.schedules.run_now("default", "report", request="r1")
    await engine.schedules.run_now("default", "report", request="r2")
    assert (again.task_id, again.created) == (first.task_id, False)
    await engine.admissions.aclose()
    await engine.pusher.aclose()
    assert await states(clockwork) == [PENDING, SCHEDULED]
    assert await permits(clockwork) == [("acme", True, False), ("acme", True, True)]
    assert await clockwork.stage.lane() == [first.task_id]
    claimed = await engine.stores.tasks.claim(
        [first.task_id], worker_id=await clockwork.stage.worker()
    )
    assert [one.claim.traits for one in claimed] == [LIMITED]


@pytest.mark.parametrize("overlap", ["skip", "wait"])
async def test_a_task_that_waits_for_its_permit_has_not_ended(
    clockwork: Clockwork, overlap: Overlap
) -> None:
    await clockwork.stage.stores.limits.put(ONE)
    every = Timing(every_seconds=60.0)
    policy = Policy(overlap=overlap, catch_up="all")
    await clockwork.put(timing=every, late=70.0, policy=policy, task=TASK)
    reaper = clockwork.reaper()
    for _ in range(3):
        await reaper.run_once()
    found = await clockwork.find()
    assert (found.fired, found.skipped) == (1, 1 if overlap == "skip" else 0)
    assert await states(clockwork) == [SCHEDULED]
    await Admit(clockwork.stage.stores).run_once()
    await cancel_admitted(clockwork)
    await clockwork.look_now()
    await reaper.run_once()
    assert await states(clockwork) == [CANCELLED, SCHEDULED]


async def test_a_limit_that_does_not_exist_delays_its_occurrence_and_no_other(
    clockwork: Clockwork,
) -> None:
    at = await clockwork.put(task=TASK)
    await clockwork.put("whole")
    reaper = clockwork.reaper()
    with recorded() as events:
        await reaper.run_once()
    assert (await clockwork.find("whole")).fired == 1
    waiting = await clockwork.find()
    assert (waiting.fired, waiting.missed, waiting.next_at) == (0, 0, at)
    assert waiting.due_at is not None
    assert waiting.due_at > waiting.now
    (failed,) = named(events, "schedule.failed")
    assert "there is no limit stripe" in failed["error"]
    with pytest.raises(LimitUnknown):
        await clockwork.stage.engine.schedules.run_now("default", "report", request="r")
    assert await states(clockwork) == [PENDING]
    await clockwork.stage.stores.limits.put(ONE)
    await clockwork.look_now()
    await reaper.run_once()
    found = await clockwork.find()
    assert (found.fired, found.run_ats) == (1, [at])
    await clockwork.stage.engine.schedules.run_now("default", "report", request="r")
    assert (await clockwork.find()).fired == 2


@pytest.mark.parametrize("when", ["before", "during"])
async def test_a_limit_that_is_deleted_between_read_and_firing_loses_no_occurrence(
    clockwork: Clockwork, when: str, pool: Pool
) -> None:
    limits = clockwork.stage.stores.limits
    await limits.put(ONE)
    at = await clockwork.put(task=TASK)
    await clockwork.put("whole")
    reaper = clockwork.reaper()
    firings = await reaper._compute(await clockwork.ledger.find_due(limit=10))
    assert len(firings) == 2
    with recorded() as events:
        if when == "before":
            await limits.delete("stripe")
            assert await reaper._fire(firings) == 1
        else:
            async with holding(pool) as held:
                await LimitLedger(held).delete("stripe")
                firing = asyncio.create_task(reaper._fire(firings))
                await until_blocked(clockwork.stage.plain, firing)
            assert await firing == 1
    assert "does not exist any more" in named(events, "schedule.failed")[0]["error"]
    assert (await clockwork.find("whole")).fired == 1
    waiting = await clockwork.find()
    assert (waiting.fired, waiting.next_at) == (0, at)
    assert await permits(clockwork) == []
    await limits.put(ONE)
    await clockwork.look_now()
    await reaper.run_once()
    assert (await clockwork.find()).fired == 1
    assert await permits(clockwork) == [("acme", True, False)]


async def test_a_schedule_of_limited_tasks_is_refused_beside_an_older_worker(
    clockwork: Clockwork,
) -> None:
    engine, plain = clockwork.stage.engine, clockwork.stage.plain
    worker = await clockwork.stage.worker()
    limited = Definition(name="report", timing=HOURLY, submission=submission(**TASK))
    await engine.limits.put(LimitBounds(name="stripe", key_concurrency=1))
    await engine.schedules.put(limited)
    await plain.execute("update leaseq.workers set traits = null")
    engine.stores.tasks.older.forget()
    unchanged = await engine.schedules.put(limited)
    assert (unchanged.limit_name, unchanged.concurrency_key) == ("stripe", "acme")
    other = submission(task_id=new_task_id(), limit="stripe", concurrency_key="other")
    changed = Definition(name="report", timing=HOURLY, submission=other)
    with pytest.raises(FeatureNeedsUpgrade, match=worker):
        await engine.schedules.put(changed)
    plain_task = Definition(name="plain", timing=HOURLY, submission=submission())
    assert (await engine.schedules.put(plain_task)).limit_name is None
    await plain.execute("update leaseq.workers set traits = %s", [KNOWN_TRAITS])
    found = await engine.schedules.put(changed)
    assert (found.concurrency_key, found.next_at) == ("other", unchanged.next_at)
