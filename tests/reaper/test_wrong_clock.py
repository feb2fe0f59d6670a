"""Lost pushes are found although a clock is wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from leaseq import codec
from leaseq.codec import follow_clock
from leaseq.connections.postgres import refresh_timeline
from leaseq_reaper.reconcile import ledger_scan
from leaseq_reaper.reconcile.ledger_scan import first_id_at
from support.ledger import RETENTION, submission
from support.reaper import FakeClock, Stage, reconciler


class Wall:
    """The clock of this machine, which may be wrong."""

    def __init__(self) -> None:
        self.off_seconds = 0

    def time_ns(self) -> int:
        return time.time_ns() + self.off_seconds * 10**9


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wall]:
    made = Wall()
    monkeypatch.setattr(codec, "time", made)
    yield made
    follow_clock(made.time_ns() / 1e9)


@pytest.mark.parametrize("off_seconds", [60, -60])
@pytest.mark.parametrize("wrong", ["reaper", "client"])
async def test_a_lost_push_is_found_in_the_next_pass_whichever_clock_is_wrong(
    stage: Stage,
    clock: FakeClock,
    wall: Wall,
    monkeypatch: pytest.MonkeyPatch,
    wrong: str,
    off_seconds: int,
) -> None:
    """In a ledger that the walk over all tasks does not come through in that time."""
    config = stage.engine.config
    for number in range(60):
        await stage.submit(1, task_id=first_id_at(time.time() - 3600 + number))
    monkeypatch.setattr(ledger_scan, "CHUNK", 3)
    reconcile = reconciler(stage.engine, clock=clock)
    await reconcile.run_once()
    monkeypatch.setattr(reconcile, "_budget", 0.0)  # one chunk of each walk in a pass

    if wrong == "client":
        wall.off_seconds = off_seconds
        await refresh_timeline(
            config, name="leaseq test"
        )  # as every process does every few seconds
    lost = submission()
    wall.off_seconds = off_seconds if wrong == "reaper" else 0
    await refresh_timeline(config, name="leaseq test")
    await stage.stores.tasks.submit([lost], retention_seconds=RETENTION)
    await stage.plain.execute(
        "update leaseq.tasks set run_at = run_at - interval '10 seconds' where id = %s",
        [lost.task_id],
    )
    for _ in range(2):
        clock.now += 2.0
        await reconcile.run_once()
    assert lost.task_id in await stage.lane()
