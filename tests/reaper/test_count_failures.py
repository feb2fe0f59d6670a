"""The duty that counts failures finds each attempt, also one that comes late."""

from __future__ import annotations

from leaseq.ledger.failures import FailureFilter
from leaseq.observability.telemetry import recorded
from leaseq_reaper.duties.count_failures import PRUNE_SECONDS, WHOLE_SECONDS, CountFailures
from support.failures import GONE, Shop
from support.reaper import FakeClock, Stage


async def counted(stage: Stage) -> list[int]:
    page = await stage.stores.failures.list_groups(FailureFilter(), tenant=None)
    return [group.in_week for group in page.groups]


async def test_failures_are_counted_and_new_causes_told(stage: Stage, clock: FakeClock) -> None:
    shop = Shop(stage.stores.tasks, stage.stores.workers)
    duty = CountFailures(stage.stores, clock=clock)
    await shop.fail(times=3)
    with recorded() as events:
        await duty.run_once()
        await shop.fail()
        await duty.run_once()
    assert await counted(stage) == [4]
    (appeared,) = [event for event in events if event.name == "failure.appeared"]
    assert appeared.fields["fingerprint"] == GONE.fingerprint


async def test_row_that_becomes_visible_late_is_found_by_a_whole_look(
    stage: Stage, clock: FakeClock
) -> None:
    shop = Shop(stage.stores.tasks, stage.stores.workers)
    duty = CountFailures(stage.stores, clock=clock)
    await shop.fail()
    await duty.run_once()
    await shop.fail()
    await stage.plain.execute(
        "update leaseq.uncounted_failures set failed_at = failed_at - interval '1 hour'"
    )
    await duty.run_once()
    assert await counted(stage) == [1]
    clock.now += WHOLE_SECONDS
    await duty.run_once()
    assert await counted(stage) == [2]


async def test_old_causes_are_forgotten(stage: Stage, clock: FakeClock) -> None:
    shop = Shop(stage.stores.tasks, stage.stores.workers)
    duty = CountFailures(stage.stores, clock=clock)
    await shop.fail()
    await duty.run_once()
    await stage.plain.execute("update leaseq.failures set last_seen = now() - interval '31 days'")
    clock.now += PRUNE_SECONDS
    await duty.run_once()
    assert await counted(stage) == []
