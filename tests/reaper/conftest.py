"""Which fixtures do the tests of the reaper share?"""

from __future__ import annotations

from collections.abc import AsyncIterator

import psycopg
import pytest

from fix_reaper import FakeClock, Stage
from leaseq.config import Config
from leaseq.engine.engine import open_engine


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def stage(config: Config) -> AsyncIterator[Stage]:
    """Both stores, with a lease of one second."""
    async with (
        open_engine(config, name="leaseq test", pool_size=6) as engine,
        await psycopg.AsyncConnection.connect(str(config.postgres_url), autocommit=True) as plain,
    ):
        await engine.stores.fleet.register_queues(["default"])
        yield Stage(engine, plain)
