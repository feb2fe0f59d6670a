"""Reapers are killed or frozen while they fire, and each occurrence is one task."""

from __future__ import annotations

import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from leaseq.failpoints import VARIABLE
from leaseq.schedules.schedule import Definition
from leaseq.schedules.timing import Timing
from support.ledger import submission
from support.processes import Services
from support.reaper import Stage

COUNT = 20


def was_reached(directory: Path, point: str) -> bool:
    """Whether a process stands, or has died, at a point."""
    return any(directory.glob(f"{point}.reached-*"))


@pytest.mark.parametrize("point", ["fire.read", "fire.committed", "fire.sent"])
@pytest.mark.parametrize("action", ["kill", "stop"])
async def test_each_occurrence_is_one_task(
    stage: Stage,
    services: Services,
    eventually: Callable[..., Any],
    tmp_path: Path,
    point: str,
    action: str,
) -> None:
    services.executing = True  # a fork has read the variable before
    (tmp_path / point).write_text(action)
    broken = await services.reaper(**{VARIABLE: str(tmp_path)})
    at = datetime.now(UTC)
    for n in range(COUNT):
        timing = Timing(cron="0 0 1 1 *")
        definition = Definition(name=f"s{n}", timing=timing, submission=submission())
        assert await stage.stores.schedules.put(definition, next_at=at, due_at=at, seen=None)

    async def reached() -> bool:
        return was_reached(tmp_path, point)

    await eventually(reached)
    await services.reaper()

    async def fired() -> bool:
        rows = await stage.plain.execute("select sum(fired), count(*) from leaseq.schedules")
        return await rows.fetchone() == (COUNT, COUNT)

    await eventually(fired)
    if action == "stop":
        # It wakes, sends what it has in hand, and ends in order.
        broken.signal(signal.SIGCONT)
        broken.signal(signal.SIGTERM)
        assert await broken.ended() == 0
    rows = await stage.plain.execute(
        "select count(*), count(distinct idempotency_key) from leaseq.tasks"
    )
    assert await rows.fetchone() == (COUNT, COUNT)
