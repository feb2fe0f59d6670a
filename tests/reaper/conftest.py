"""Fixtures for the tests of the reaper."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.operations.open_engine import open_engine
from support.clockwork import Clockwork
from support.reaper import WINDOW, FakeClock, Stage


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def stage(config: Config) -> AsyncIterator[Stage]:
    """Both stores, with a lease of one second."""
    async with staged(config) as stage:
        yield stage


@pytest.fixture
async def narrow(config: Config) -> AsyncIterator[Stage]:
    """The same, with lanes that hold no more than ten deliveries."""
    async with staged(replace(config, dispatch_window=WINDOW)) as stage:
        yield stage


@pytest.fixture
def clockwork(stage: Stage) -> Clockwork:
    """Schedules of the stage, and reapers that fire them."""
    return Clockwork(stage)


@asynccontextmanager
async def staged(config: Config) -> AsyncIterator[Stage]:
    async with (
        open_engine(config, name="leaseq test", pool_size=6) as engine,
        await psycopg.AsyncConnection.connect(str(config.postgres_url), autocommit=True) as plain,
    ):
        await engine.stores.queues.register_queues(["default"])
        yield Stage(engine, plain)
