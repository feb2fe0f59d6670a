"""Whether bounds grow with the slowness of the machine, and how that is measured."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from msgspec.structs import replace

from leaseq_chaos.checkers.recovery import bound_of
from leaseq_chaos.pace import EVERY_SECONDS, Pace, slowness_of
from support.synthetic_history import Forged


@pytest.mark.parametrize(
    ("stretched", "slowness"),
    [
        ([], 1.0),
        ([1.0, 1.0, 9.0, 1.0], 1.0),
        ([4.0] * 8, 2.0),
        ([1.0, 6.0, 6.0, 6.0], 3.0),
        ([90.0] * 4, 6.0),
    ],
)
def test_slowness_is_what_most_of_the_work_had_to_wait(
    stretched: list[float], slowness: float
) -> None:
    assert slowness_of(stretched) == slowness


async def test_pace_is_measured_until_it_is_cancelled() -> None:
    pace = Pace()
    with suppress(TimeoutError):
        await asyncio.wait_for(pace.measure(), EVERY_SECONDS / 2)
    assert 1.0 <= pace.slowness <= 6.0


def test_a_bound_grows_with_the_slowness() -> None:
    run = Forged(bounds={"flushall": 4.0}).evidence().run
    slow = replace(run, slowness=2.5)
    for nemesis in ("flushall", "kill-child", "freeze-worker", "failover-postgres"):
        assert bound_of(nemesis, slow) == 2.5 * bound_of(nemesis, run)
