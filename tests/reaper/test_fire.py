"""Schedules are fired once, by any number of reapers, and after any time away."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from leaseq.dispatch.dispatcher import Dispatcher
from leaseq.errors import ServerUnreachable
from leaseq.ledger.schedules import Fired, Firing, ScheduleLedger
from leaseq.model import Lane
from leaseq.observability.telemetry import recorded
from leaseq.schedules.plan import Policy
from leaseq.schedules.timing import Timing
from support.clockwork import Clockwork
from support.ledger import submission


async def test_a_due_schedule_becomes_a_task_with_its_next_time(clockwork: Clockwork) -> None:
    at = await clockwork.put(task={"labels": {"kind": "report"}})
    await clockwork.put("later", late=None)
    with recorded() as events:
        await clockwork.reaper().run_once()
        await clockwork.reaper().run_once()
    found = await clockwork.find()
    assert found.next_at is not None
    assert (found.next_at.minute, found.next_at > found.now) == (0, True)
    assert found.run_ats == [at]
    assert found.run_tasks == [found.last_task_id]
    assert (found.fired, found.missed, found.skipped) == (1, 0, 0)
    ((key, state),) = await clockwork.tasks()
    assert (key, state) == (f"leaseq.schedule:report:{at.isoformat()[:-6]}Z", "PENDING")
    assert [e.fields["schedule"] for e in events if e.name == "schedule.fired"] == ["report"]
    held = await clockwork.stage.stores.dispatcher.push("default", [], lane=Lane.NORMAL)
    assert held == []
    rows = await clockwork.stage.plain.execute(
        "select headers ->> 'scheduled_at', l.value from leaseq.tasks join leaseq.labels l on task_id = id"
    )
    ((scheduled_at, label),) = await rows.fetchall()
    assert datetime.fromisoformat(scheduled_at) == at
    assert label == "report"


async def test_ten_reapers_fire_each_occurrence_once(clockwork: Clockwork) -> None:
    for n in range(60):
        await clockwork.put(f"s{n}")
    await asyncio.gather(*[clockwork.reaper().run_once() for _ in range(10)])
    assert len(await clockwork.tasks()) == 60
    assert {(await clockwork.find(f"s{n}")).fired for n in range(60)} == {1}


async def test_a_batch_that_is_sent_late_fires_nothing_again(
    clockwork: Clockwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reaper is frozen between its read and its statement, or the network delays that."""
    batches: list[list[Firing]] = []
    fire = ScheduleLedger.fire

    async def kept(self: ScheduleLedger, firings: list[Firing], **options: Any) -> Fired:
        batches.append(firings)
        return await fire(self, firings, **options)

    monkeypatch.setattr(ScheduleLedger, "fire", kept)
    await clockwork.put()
    await clockwork.reaper().run_once()
    late = await fire(clockwork.ledger, batches[0], retention_seconds=60)
    assert (late.tasks, late.taken) == ([], set())
    # Not even where the time was set back by hand: the occurrence has its key.
    await clockwork.stage.plain.execute(
        "update leaseq.schedules set next_at = %s, due_at = now()", [batches[0][0].due.next_at]
    )
    await clockwork.reaper().run_once()
    assert len(await clockwork.tasks()) == 1


@pytest.mark.parametrize("change", ["put", "pause", "delete", "run"])
async def test_a_change_between_read_and_fire_is_kept(clockwork: Clockwork, change: str) -> None:
    await clockwork.put()
    reaper = clockwork.reaper()
    firings = await reaper._compute(await clockwork.ledger.find_due(limit=10))
    if change == "put":
        await clockwork.put(timing=Timing(cron="0 0 1 1 *"), seen=await clockwork.find())
    elif change == "pause":
        assert await clockwork.ledger.pause("default", "report", by="me")
    elif change == "delete":
        assert await clockwork.ledger.delete("default", "report")
    else:
        await run(clockwork, "r1")
    assert await reaper._fire(firings) == 0
    assert len(await clockwork.tasks()) == (1 if change == "run" else 0)
    if change == "pause":
        await reaper.run_once()
        assert await clockwork.tasks() == []
        assert (await clockwork.find()).paused_by == "me"


async def test_a_locked_schedule_holds_up_no_other_one(clockwork: Clockwork) -> None:
    await clockwork.put("held")
    await clockwork.put("free")
    async with clockwork.stage.plain.transaction():
        await clockwork.stage.plain.execute(
            "select from leaseq.schedules where name = 'held' for update"
        )
        await clockwork.reaper().run_once()
        assert (await clockwork.find("free")).fired == 1
        assert (await clockwork.find("held")).fired == 0
    await clockwork.reaper().run_once()
    assert (await clockwork.find("held")).fired == 1


async def test_an_answer_that_was_lost_leaves_one_task(
    clockwork: Clockwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    fire = ScheduleLedger.fire

    async def lost(self: ScheduleLedger, firings: list[Firing], **options: Any) -> Fired:
        await fire(self, firings, **options)
        raise ServerUnreachable("the answer is lost")

    await clockwork.put()
    reaper = clockwork.reaper()
    with monkeypatch.context() as patched:
        patched.setattr(ScheduleLedger, "fire", lost)
        with pytest.raises(ServerUnreachable):
            await reaper.run_once()
    await reaper.run_once()
    assert len(await clockwork.tasks()) == 1


async def test_tasks_that_could_not_be_pushed_are_pushed_by_the_next_pass(
    clockwork: Clockwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed: list[str] = []
    push = Dispatcher.push

    async def counted(self: Dispatcher, queue: str, ids: list[str], **options: Any) -> list[str]:
        pushed.extend(ids)
        return await push(self, queue, ids, **options)

    async def away(self: Dispatcher, queue: str, ids: list[str], **options: Any) -> list[str]:
        raise ServerUnreachable("Redis is away")

    await clockwork.put()
    reaper = clockwork.reaper()
    with monkeypatch.context() as patched:
        patched.setattr(Dispatcher, "push", away)
        await reaper.run_once()
        assert len(await clockwork.tasks()) == 1
        await clockwork.put("second")  # Redis away holds up no firing
        await reaper.run_once()
    monkeypatch.setattr(Dispatcher, "push", counted)
    await reaper.run_once()
    assert len(pushed) == 2


async def test_missed_occurrences_follow_the_policy(clockwork: Clockwork) -> None:
    every = Timing(every_seconds=60.0)
    for name, policy in {
        "once": Policy(),
        "skip": Policy(catch_up="skip"),
        "all": Policy(catch_up="all", max_catch_up=3),
    }.items():
        await clockwork.put(name, timing=every, late=630.0, policy=policy)
    with recorded() as events:
        await clockwork.reaper().run_once()
    found = {name: await clockwork.find(name) for name in ("once", "skip", "all")}
    # Eleven occurrences were due, the last one 30 seconds ago.
    assert {name: (one.fired, one.missed) for name, one in found.items()} == {
        "once": (1, 10),
        "skip": (1, 10),
        "all": (3, 8),
    }
    assert found["all"].run_ats == sorted(found["all"].run_ats, reverse=True)
    told = {e.fields["schedule"]: e.fields["count"] for e in events if e.name == "schedule.missed"}
    assert told == {"once": 10, "skip": 10, "all": 8}


async def test_an_occurrence_is_skipped_while_the_last_task_runs(clockwork: Clockwork) -> None:
    every = Timing(every_seconds=1.0)
    await clockwork.put(timing=every, late=0.5, policy=Policy(overlap="skip"))
    reaper = clockwork.reaper()
    await reaper.run_once()
    await clockwork.stage.plain.execute(
        "update leaseq.schedules set next_at = next_at - interval '1 s', due_at = now()"
    )
    with recorded() as events:
        await reaper.run_once()
    found = await clockwork.find()
    assert (found.fired, found.skipped) == (1, 1)
    assert found.run_tasks == [None, found.last_task_id]
    assert [e.name for e in events if e.name.startswith("schedule.")] == ["schedule.skipped"]
    assert len(await clockwork.tasks()) == 1


async def test_an_occurrence_waits_for_the_end_of_the_last_task(clockwork: Clockwork) -> None:
    every = Timing(every_seconds=60.0)
    policy = Policy(overlap="wait", catch_up="all")
    await clockwork.put(timing=every, late=70.0, policy=policy)
    reaper = clockwork.reaper()
    await reaper.run_once()
    first = await clockwork.find()
    await clockwork.look_now()
    await reaper.run_once()
    waiting = await clockwork.find()
    assert (waiting.fired, waiting.skipped, waiting.next_at) == (1, 0, first.next_at)
    assert waiting.due_at is not None
    assert waiting.due_at > waiting.now
    await clockwork.end_tasks()
    await clockwork.look_now()
    await reaper.run_once()
    assert (await clockwork.find()).fired == 2


async def test_jitter_delays_the_firing_and_not_the_occurrence(clockwork: Clockwork) -> None:
    at = await clockwork.put(jitter_seconds=86_400)
    await clockwork.reaper().run_once()
    found = await clockwork.find()
    assert found.run_ats == [at]
    assert found.next_at is not None
    assert found.due_at is not None
    assert timedelta(0) < found.due_at - found.next_at < timedelta(days=1)


async def test_the_last_occurrence_ends_the_schedule(clockwork: Clockwork) -> None:
    await clockwork.put(timing=Timing(cron="0 * * * *", end_at=datetime.now(UTC)))
    await clockwork.reaper().run_once()
    found = await clockwork.find()
    assert (found.fired, found.next_at, found.due_at, found.preview(5)) == (1, None, None, [])


async def test_a_schedule_that_cannot_be_fired_holds_up_no_other_one(clockwork: Clockwork) -> None:
    await clockwork.put("broken")
    await clockwork.put("whole")
    await clockwork.stage.plain.execute(
        "update leaseq.schedules set zone = 'Europe/Atlantis' where name = 'broken'"
    )
    with recorded() as events:
        await clockwork.reaper().run_once()
    assert (await clockwork.find("whole")).fired == 1
    assert (await clockwork.find("broken")).fired == 0
    (failed,) = [e for e in events if e.name == "schedule.failed"]
    assert "Europe/Atlantis" in failed.fields["error"]
    assert await clockwork.ledger.find_due(limit=10) == []


async def run(clockwork: Clockwork, request: str) -> tuple[str, bool]:
    """Run the schedule by hand."""
    task_id = submission().task_id
    found = await clockwork.ledger.run(
        "default", "report", request=request, task_id=task_id, retention_seconds=60
    )
    assert found is not None
    return found.task_id, found.created


async def test_a_run_by_hand_is_one_task_for_each_request(clockwork: Clockwork) -> None:
    await clockwork.put(late=None)
    answers = await asyncio.gather(*[run(clockwork, "r1") for _ in range(5)])
    assert len({task_id for task_id, _ in answers}) == 1
    assert sum(created for _, created in answers) == 1
    await run(clockwork, "r2")
    found = await clockwork.find()
    assert (found.fired, len(found.run_tasks)) == (2, 2)
    assert len(await clockwork.tasks()) == 2
    assert (
        await clockwork.ledger.run(
            "default", "none", request="r", task_id=answers[0][0], retention_seconds=60
        )
        is None
    )


async def test_tasks_of_tenants_with_a_quota_are_listed(clockwork: Clockwork) -> None:
    await clockwork.stage.plain.execute(
        "update leaseq.tenants set unfinished = 5 where name = 'default'"
    )
    await clockwork.put()
    await clockwork.reaper().run_once()
    rows = await clockwork.stage.plain.execute("select count(*) from leaseq.unfinished_tasks")
    assert await rows.fetchone() == (1,)
