"""A stream of single items goes in batches, and an item alone never waits."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from leaseq import batch_pause
from leaseq.batch_pause import LARGE, PAUSE_SECONDS, REST_SECONDS, BatchPause
from leaseq.gather import Gatherer


class Clock:
    """Time that passes only in pauses, and when a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.slept: list[float] = []
        monkeypatch.setattr(batch_pause.asyncio, "sleep", self._sleep)  # type: ignore[attr-defined]

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.now += seconds

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


async def _batch(pause: BatchPause, waiting: int, count: int) -> None:
    await pause.fill(waiting)
    pause.begin(count)


async def test_an_item_alone_never_waits(clock: Clock) -> None:
    pause = BatchPause(clock=clock)
    for _ in range(5):
        await _batch(pause, 1, 1)
        clock.now += PAUSE_SECONDS
    assert clock.slept == []


async def test_the_next_batch_begins_a_pause_after_the_last(clock: Clock) -> None:
    pause = BatchPause(clock=clock)
    await _batch(pause, 1, 1)
    clock.now += PAUSE_SECONDS / 5
    await _batch(pause, 1, 3)
    await _batch(pause, 2, 2)
    assert clock.slept == [PAUSE_SECONDS * 4 / 5, PAUSE_SECONDS]


async def test_a_large_batch_does_not_wait(clock: Clock) -> None:
    for pause, waiting in ((BatchPause(clock=clock), LARGE), (BatchPause(large=2, clock=clock), 2)):
        await _batch(pause, waiting, waiting)
        await _batch(pause, waiting, waiting)
    assert clock.slept == []


async def test_a_pause_that_brings_no_company_is_not_repeated_for_a_while(clock: Clock) -> None:
    pause = BatchPause(clock=clock)
    for _ in range(3):  # a chain: each item comes when the one before is done
        await _batch(pause, 1, 1)
    assert clock.slept == [PAUSE_SECONDS]
    clock.now += REST_SECONDS
    await _batch(pause, 1, 1)
    await _batch(pause, 1, 1)
    assert clock.slept == [PAUSE_SECONDS, PAUSE_SECONDS]


async def test_a_gatherer_with_a_pause_writes_a_stream_in_larger_batches() -> None:
    batches: list[int] = []

    async def write(batch: Sequence[int]) -> list[int | BaseException]:
        batches.append(len(batch))
        return [*batch]

    gatherer: Gatherer[int, int] = Gatherer(write, batch_size=100, capacity=100, pause=BatchPause())
    assert await gatherer.add(0) == 0
    # While the first of these waits in its pause, the others come one turn of the loop after another.
    tasks = []
    for number in range(1, 10):
        tasks.append(asyncio.create_task(gatherer.add(number)))
        await asyncio.sleep(0)
    assert await asyncio.gather(*tasks) == [*range(1, 10)]
    assert batches[0] == 1
    assert len(batches) < 10
