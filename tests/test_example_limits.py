"""The examples of limits, with workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples import one_at_a_time
from leaseq import Config
from support.worker import working


async def test_one_at_a_time_loses_no_deposit(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = one_at_a_time.app
    monkeypatch.setattr(app, "_config", config)
    monkeypatch.setattr(one_at_a_time, "BALANCES", tmp_path / "balances")
    async with app, working(config, app, concurrency=8, registers=True):
        balances = await one_at_a_time.deposits()
    assert sorted(balances) == sorted([*range(100, 1_100, 100)] * 2)
