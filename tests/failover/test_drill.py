"""A drill with a promoted standby changes nothing for the primary."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from leaseq.config import Config
from leaseq.connections.primary import _timelines
from leaseq.operations.open_engine import open_engine
from support.ledger import submission
from support.processes import PATIENCE, TESTS, environment
from support.servers import Pair, at

LEDGER = "leaseq:ledger"


@pytest.fixture
async def dispatch(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


async def run(config: Config, *arguments: str) -> int | None:
    """A command in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "leaseq", *arguments),
        env=environment(config),
        cwd=TESTS,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    async with asyncio.timeout(3 * PATIENCE):
        return await process.wait()


@pytest.mark.slow("every reading command as a program")
async def test_commands_that_read_there_leave_the_primary_in_use(
    config: Config, pair: Pair, dispatch: Redis
) -> None:
    here, there = at(config, pair.primary.url), at(config, pair.standby.url)
    async with open_engine(here) as engine:
        task_id = (await engine.submit(submission())).task_id
        known = await dispatch.hgetall(LEDGER)
        pair.standby.promote()
        for arguments in (
            ["list"],
            ["show", task_id],
            ["queues"],
            ["workers"],
            ["operations"],
            ["wait", task_id, "--timeout", "0.1"],
            ["check"],
        ):
            await run(there, *arguments)
            assert await dispatch.hgetall(LEDGER) == known, arguments
        await engine.stores.ownership.check()
        await engine.submit(submission())


async def test_a_client_that_may_write_announces_what_it_has_seen(
    config: Config, pair: Pair, dispatch: Redis
) -> None:
    """It may be the first that sees the new primary after a failover."""
    here, there = at(config, pair.primary.url), at(config, pair.standby.url)
    async with open_engine(here):
        known = await dispatch.hgetall(LEDGER)
    pair.standby.promote()
    async with open_engine(there, announces=False):
        assert await dispatch.hgetall(LEDGER) == known
    async with open_engine(there):
        assert int((await dispatch.hgetall(LEDGER))["timeline"]) > int(known["timeline"])
    _timelines.clear()


async def test_reader_does_not_claim_an_empty_dispatch(config: Config, dispatch: Redis) -> None:
    async with open_engine(config, announces=False) as engine:
        await engine.stores.dispatch_server.epoch()
        assert await dispatch.hgetall(LEDGER) == {}
