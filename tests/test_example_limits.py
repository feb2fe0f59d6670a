"""The examples of limits, with workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples import api_with_rate_limit, one_at_a_time
from leaseq import Config
from support.client import Client
from support.worker import working
from worker.test_limits import reaping


async def test_one_at_a_time_loses_no_deposit(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = one_at_a_time.app
    monkeypatch.setattr(app, "_config", config)
    monkeypatch.setattr(one_at_a_time, "BALANCES", tmp_path / "balances")
    async with app, working(config, app, concurrency=8, registers=True):
        balances = await one_at_a_time.deposits()
    assert sorted(balances) == sorted([*range(100, 1_100, 100)] * 2)


async def test_an_api_is_not_called_more_often_than_it_allows(
    config: Config, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = api_with_rate_limit.app
    monkeypatch.setattr(app, "_config", config)
    async with app, working(config, app, registers=True), reaping(client.engine):
        await api_with_rate_limit.calls(12)
        # By the times of the tokens: the clock of the handler is read later, by any delay.
        took = await client.rows(
            "select max(finished_at) - min(started_at) > interval '2 s' from leaseq.tasks"
        )
    # in any second five may start, so the eleventh is two seconds behind the first
    assert took == [(True,)]
