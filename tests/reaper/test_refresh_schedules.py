"""Next times that were computed by other rules of a zone are corrected."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from leaseq.ledger.schedules import NextTime, ScheduleLedger
from leaseq.schedules.timing import Timing, next_after
from leaseq_reaper.duties import refresh_schedules
from leaseq_reaper.duties.refresh_schedules import RefreshSchedules
from support.clockwork import HOURLY, Clockwork

ZONED = Timing(cron="0 6 * * *", zone="Europe/Zurich")


async def test_next_times_by_old_rules_are_corrected_in_batches(
    clockwork: Clockwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refresh_schedules, "BATCH", 2)
    for name in ("a", "b", "c"):
        await clockwork.put(name, timing=ZONED, late=None, jitter_seconds=100)
    utc = await clockwork.put("utc", timing=HOURLY, late=None)
    await clockwork.put("z-right", timing=ZONED, late=None)
    right = next_after(ZONED, datetime.now(UTC))
    assert right is not None
    await clockwork.stage.plain.execute(
        "update leaseq.schedules set next_at = %s, due_at = %s where name = 'z-right'",
        [right, right],
    )
    unchanged = await clockwork.find("z-right")
    reaper = clockwork.reaper()
    await reaper.run_once()
    corrected = [(await clockwork.find(name)).next_at == right for name in "abc"]
    assert corrected == [True, True, False]
    await reaper.run_once()
    for name in "abc":
        found = await clockwork.find(name)
        assert found.next_at == right
        assert found.due_at == right + found.delay
    assert (await clockwork.find("utc")).next_at == utc
    assert (await clockwork.find("z-right")).revision == unchanged.revision
    # Once after the start.
    await clockwork.put("d", timing=ZONED, late=None)
    await reaper.run_once()
    await reaper.run_once()
    assert (await clockwork.find("d")).next_at != right
    await clockwork.reaper().run_once()
    assert await clockwork.tasks() == []


async def test_a_schedule_that_changes_meanwhile_is_left_alone(
    clockwork: Clockwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    await clockwork.put(timing=ZONED, late=None)
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    refresh = ScheduleLedger.refresh

    async def changed_before(self: ScheduleLedger, changed: list[NextTime], **more: Any) -> None:
        assert len(changed) == 1
        await clockwork.stage.plain.execute(
            "update leaseq.schedules set next_at = %s, due_at = %s, revision = gen_random_uuid()",
            [later, later],
        )
        await refresh(self, changed, **more)

    monkeypatch.setattr(ScheduleLedger, "refresh", changed_before)
    await RefreshSchedules(clockwork.ledger).run_once()
    assert (await clockwork.find()).next_at == later


async def test_no_occurrence_comes_back_where_the_clock_was_set_back(clockwork: Clockwork) -> None:
    await clockwork.put(timing=ZONED, late=None)
    last = next_after(ZONED, datetime.now(UTC) + timedelta(days=2))
    assert last is not None
    coming = next_after(ZONED, last)
    await clockwork.stage.plain.execute(
        "update leaseq.schedules set run_ats = array[%s::timestamptz], run_tasks = array[null::uuid], next_at = %s, due_at = %s",
        [last, coming, coming],
    )
    await RefreshSchedules(clockwork.ledger).run_once()
    assert (await clockwork.find()).next_at == coming
