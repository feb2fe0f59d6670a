"""Bounds in seconds that a test holds against a machine which has other work too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from leaseq_chaos.pace import Pace

EVERY_SECONDS = 0.25


@pytest.fixture
async def pace() -> AsyncIterator[Pace]:
    """How slow the machine is while the test runs: `bound * pace.slowness` is what the bound means
    there."""
    measured = Pace(every_seconds=EVERY_SECONDS)
    measuring = asyncio.create_task(measured.measure())
    yield measured
    measuring.cancel()
