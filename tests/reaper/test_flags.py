"""Pause flags are restored in shares, without delaying redelivery."""

from __future__ import annotations

from typing import Any

import pytest

from leaseq_reaper.reconcile import pause_flags
from leaseq_reaper.reconcile.reconcile import Reconcile
from support.dispatch import KEYS
from support.reaper import FakeClock, Stage, reconciler

NAMES = [f"made.up.{number}" for number in range(7)]


@pytest.fixture
def reconcile(stage: Stage, clock: FakeClock) -> Reconcile:
    return reconciler(stage.engine, clock=clock)


@pytest.fixture
async def paused(stage: Stage) -> None:
    """Seven names that are paused in the ledger, and that dispatch does not know of."""
    await stage.plain.execute(
        "insert into leaseq.queues (name, paused) select unnest(%s::text[]), true", [NAMES]
    )


async def flagged(stage: Stage) -> set[str]:
    found = await stage.stores.pause_flags.read_many(NAMES)
    return {queue for queue, flag in found.items() if flag is True}


@pytest.mark.usefixtures("paused")
async def test_a_pass_restores_a_share_and_the_next_ones_the_rest(
    stage: Stage, reconcile: Reconcile, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pause_flags, "SHARE", 3)
    counts = []
    for _ in range(3):
        clock.now += 2
        await reconcile.run_once()
        counts.append(len(await flagged(stage)))
    assert counts == [3, 6, 7]


@pytest.mark.usefixtures("paused")
async def test_flags_of_later_shares_go_when_their_queues_are_resumed(
    stage: Stage, reconcile: Reconcile, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pause_flags, "SHARE", 3)
    for _ in range(3):
        await reconcile.run_once()
    await stage.stores.queues.pause(NAMES[6], paused=False)
    for _ in range(3):
        await reconcile.run_once()
    assert await flagged(stage) == set(NAMES[:6])


@pytest.mark.usefixtures("paused")
async def test_a_queue_that_is_paused_again_during_a_round_keeps_its_flag(
    stage: Stage, reconcile: Reconcile, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pause_flags, "SHARE", 3)
    for _ in range(3):
        await reconcile.run_once()
    await stage.stores.queues.pause(NAMES[0], paused=False)
    await reconcile.run_once()  # reads the share without it
    await stage.engine.pause(NAMES[0], paused=True)
    for _ in range(2):
        await reconcile.run_once()
    assert await flagged(stage) == set(NAMES)


@pytest.mark.usefixtures("paused")
async def test_after_a_loss_tasks_are_delivered_before_flags_are_restored(
    stage: Stage, reconcile: Reconcile, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.submit(push=False)
    push = stage.stores.dispatcher.push
    seen: list[set[str]] = []

    async def watched(*given: Any, **options: Any) -> Any:
        seen.append(await flagged(stage))
        return await push(*given, **options)

    monkeypatch.setattr(stage.stores.dispatcher, "push", watched)
    await stage.redis.delete(KEYS.data())
    await reconcile.run_once()
    assert seen == [set()]
    assert await flagged(stage) == set(NAMES)
