"""Ids follow the clock of Postgres when a client's clock is wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from leaseq import codec
from leaseq.codec import CLOCK_OFF_MS, follow_clock, id_time_ms, made_at, new_task_id
from leaseq.config import Config
from leaseq.connections.postgres import refresh_timeline
from leaseq.model import DEFAULT_TENANT
from leaseq.operations.open_engine import open_engine
from leaseq_reaper.reconcile.ledger_scan import first_recent_id
from support.ledger import submission

DAY_NS = 86_400 * 10**9


class Clock:
    """The clock of this machine, which may be wrong."""

    def __init__(self) -> None:
        self.off_ns = 0

    def time_ns(self) -> int:
        return time.time_ns() + self.off_ns

    def time(self) -> float:
        return self.time_ns() / 1e9


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    made = Clock()
    monkeypatch.setattr(codec, "time", made)
    yield made
    follow_clock(made.time())


@pytest.mark.parametrize("days", [-2, 1])
async def test_ids_of_a_client_whose_clock_is_wrong_are_those_of_the_others(
    config: Config, clock: Clock, days: int
) -> None:
    clock.off_ns = days * DAY_NS
    assert abs(made_at(new_task_id()).timestamp() - time.time()) > 80_000
    async with open_engine(config) as engine:
        created = await engine.submit(submission())
        task = await engine.for_tenant(DEFAULT_TENANT).find(created.task_id)
        assert abs(made_at(new_task_id()).timestamp() - task.created_at.timestamp()) < 60
        assert abs(made_at(first_recent_id(15)).timestamp() - task.created_at.timestamp()) < 60


async def test_a_clock_that_is_set_later_is_noticed_by_the_next_look_at_the_address(
    config: Config, clock: Clock
) -> None:
    async with open_engine(config):
        clock.off_ns = -2 * DAY_NS
        async with asyncio.timeout(30):
            while abs(id_time_ms() / 1000 - time.time()) > 60:  # noqa: ASYNC110 (no event tells of it)
                await asyncio.sleep(0.05)


def test_a_clock_that_is_nearly_right_is_followed_itself(clock: Clock) -> None:
    for wrong in (CLOCK_OFF_MS - 500, -CLOCK_OFF_MS + 500, 0):
        follow_clock(clock.time() + wrong / 1000)
        assert codec._Clock.ahead_ms == 0
    follow_clock(clock.time() + 2 * CLOCK_OFF_MS / 1000)
    assert abs(codec._Clock.ahead_ms - 2 * CLOCK_OFF_MS) < 500


async def test_an_answer_that_took_long_says_nothing_of_the_time(
    config: Config, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leaseq.connections.primary.PROMPT_SECONDS", 0.0)
    clock.off_ns = -2 * DAY_NS
    await refresh_timeline(config, name="leaseq test")
    assert codec._Clock.ahead_ms == 0
