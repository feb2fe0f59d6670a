"""The reconciler makes the dead letters agree with the tasks that are FAILED."""

from __future__ import annotations

import pytest

from leaseq.model import State
from leaseq.observability.telemetry import recorded
from leaseq_reaper.reconcile import dead_letters
from leaseq_reaper.reconcile.dead_letters import FOLD_SECONDS, ROUND_SECONDS
from support.ledger import claim_task, errored
from support.reaper import FakeClock, Stage, named, reconciler

CORRECTED = "letter.corrected"


async def fail(stage: Stage, count: int) -> list[str]:
    """So many tasks that have failed."""
    worker = await stage.worker()
    ids = await stage.submit(count, push=False)
    for task_id in ids:
        claim = await claim_task(stage.stores.tasks, task_id, worker)
        await stage.stores.tasks.settle([errored(claim, then=State.FAILED)])
    return ids


async def listed(stage: Stage) -> set[str]:
    cursor = await stage.plain.execute("select task_id::text from leaseq.dead_letters")
    return {row[0] for row in await cursor.fetchall()}


async def test_what_older_processes_leave_is_corrected(
    stage: Stage, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tasks that they have settled get a row, and those that they have redriven or pruned lose
    it."""
    monkeypatch.setattr(dead_letters, "CHUNK", 2)
    ids = await fail(stage, 6)
    await stage.plain.execute("delete from leaseq.dead_letters where task_id = %s", [ids[0]])
    change = "update leaseq.tasks set state = 'CANCELLED' where id = any(%s)"
    await stage.plain.execute(change, [ids[1:3]])
    await stage.plain.execute("delete from leaseq.tasks where id = %s", [ids[5]])
    reconcile = reconciler(stage.engine, clock=clock)
    with recorded() as events:
        for _ in range(4):
            await reconcile.run_once()
            clock.now += 2.0
    assert await listed(stage) == {ids[0], *ids[3:5]}
    told = named(events, CORRECTED)
    assert (sum(each["added"] for each in told), sum(each["removed"] for each in told)) == (1, 3)


async def test_what_agrees_is_no_news_and_is_looked_at_once_a_minute(
    stage: Stage, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fail(stage, 1)
    reconcile = reconciler(stage.engine, clock=clock)
    sent: list[float] = []
    discard = stage.stores.dead_letters.discard

    async def noting(**what: object) -> object:
        sent.append(clock.now)
        return await discard(**what)  # type: ignore[arg-type]

    monkeypatch.setattr(stage.stores.dead_letters, "discard", noting)
    with recorded() as events:
        for _ in range(40):
            await reconcile.run_once()
            clock.now += 2.0
    assert named(events, CORRECTED) == []
    assert [at - sent[0] for at in sent] == [0.0, 2.0, 2.0 + ROUND_SECONDS, 4.0 + ROUND_SECONDS]


async def test_counts_are_folded_while_there_are_many(
    stage: Stage, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    reconcile = reconciler(stage.engine, clock=clock)
    folded = iter([True, True, False, False])
    at: list[float] = []

    async def fold() -> bool:
        at.append(clock.now)
        return next(folded)

    monkeypatch.setattr(stage.stores.dead_letters, "fold_counts", fold)
    for _ in range(9):
        await reconcile.run_once()
        clock.now += 2.0
    assert [each - at[0] for each in at] == [0.0, 2.0, 4.0, 4.0 + FOLD_SECONDS]
