"""Limits and schedules, with both clients."""

from __future__ import annotations

import pytest
from msgspec import UNSET

from leaseq_http import Conflict, NotFound, RequestRefused
from support.http_clients import Either

REQUEST = "0199c6d2-7f3a-7cc4-b2a8-9d1f6a0c4e11"


async def test_a_limit_from_put_to_delete(leaseq: Either) -> None:
    made = await leaseq.limits.put("stripe", concurrency=2, key_concurrency=1)
    assert (made.limit.concurrency, made.keys) == (2, [])
    changed = await leaseq.limits.put("stripe", key_concurrency=3)
    assert (changed.limit.concurrency, changed.limit.key_concurrency) == (None, 3)
    assert (await leaseq.limits.find("stripe")).limit.name == "stripe"
    assert [each.name for each in await leaseq.limits.list_limits(page_size=1)] == ["stripe"]
    with pytest.raises(RequestRefused, match="give concurrency"):
        await leaseq.limits.put("stripe")
    assert await leaseq.limits.delete("stripe") is None
    with pytest.raises(NotFound):
        await leaseq.limits.delete("stripe")


async def test_a_schedule_from_put_to_delete(leaseq: Either) -> None:
    made = await leaseq.schedules.put(
        "daily", "report", payload={"n": 1}, cron="0 6 * * *", tz="Europe/Zurich", labels={"a": "b"}
    )
    assert (made.description, made.source, len(made.next_times)) == (
        *("At 06:00 every day", "api"),
        5,
    )
    runs = [await leaseq.schedules.run("daily", operation_id=REQUEST) for _ in range(2)]
    assert {each.task_id for each in runs} == {runs[0].task_id}
    assert [each.created for each in runs] == [True, False]
    assert (await leaseq.schedules.run("daily")).created
    assert (await leaseq.schedules.pause("daily")).paused_by == "open API"
    resumed = await leaseq.schedules.resume("daily")
    assert (resumed.paused_at, resumed.fired, len(resumed.runs)) == (None, 2, 2)
    (listed,) = await leaseq.schedules.list_schedules(page_size=1)
    assert (listed.name, listed.payload) == ("daily", UNSET)
    with pytest.raises(RequestRefused, match="is not 0 to 23"):
        await leaseq.schedules.put("daily", "report", cron="0 25 * * *")
    with pytest.raises(NotFound):
        await leaseq.schedules.find("none")
    assert await leaseq.schedules.delete("daily") is None
    with pytest.raises((NotFound, Conflict)):
        await leaseq.schedules.delete("daily")
