"""A command whose connection is reset just before it is written."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
import uvloop

from leaseq.config import Config
from leaseq.connections.redis import open_redis
from leaseq.dispatch.dispatcher import Dispatcher
from leaseq.dispatch.reachable import reachable
from leaseq.errors import ServerUnreachable
from support.dispatch import KEYS, QUEUE, WORKER


def test_uvloop_says_it_in_its_own_way_and_it_is_an_outage_all_the_same(redis_only: Config) -> None:
    async def ask() -> list[str]:
        client = open_redis(redis_only, name="leaseq-test")
        try:
            dispatcher = Dispatcher(client, KEYS)
            await dispatcher.held(QUEUE, worker_id=WORKER)
            (connection,) = client.connection_pool._available_connections
            assert connection._writer is not None, "it has just been used"
            connection._writer.transport.abort()
            with pytest.raises(ServerUnreachable, match=r"reset|lost"):
                await dispatcher.flagged([QUEUE])
            await dispatcher.held(QUEUE, worker_id=WORKER)
            assert connection._writer is not None, "it has been connected again"
            connection._writer.transport.abort()
            # a script looks at its connection first
            return (await dispatcher.held(QUEUE, worker_id=WORKER)).task_ids
        finally:
            await client.aclose()

    def run() -> list[str]:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(ask())

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(run).result() == []


def test_any_other_runtime_error_is_a_bug_and_stays_one() -> None:
    with pytest.raises(RuntimeError, match="something else"), reachable():
        raise RuntimeError("something else")
