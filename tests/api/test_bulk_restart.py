"""A bulk operation goes on after a crash of Postgres in its middle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.embedded import PostgresServer, ValkeyServer
from leaseq.ledger.bulk_operations import Step
from leaseq.ledger.session import Connection
from leaseq.model import State
from leaseq.operations.bulk.bulk_runner import BulkRunner
from support.api import Api, open_api
from support.bulk import body_of, failed, started, states, until_done
from support.servers import at, prepare

COUNT = 400


@pytest.fixture
async def own(
    config: Config, own_postgres: PostgresServer, own_valkey: ValkeyServer
) -> AsyncIterator[Api]:
    """An API on servers of the test's own."""
    await prepare(own_postgres.url)
    async with open_api(replace(at(config, own_postgres.url), redis_url=own_valkey.url)) as api:
        yield api


async def test_an_operation_goes_on_after_a_crash_of_postgres(
    own: Api, own_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Postgres is killed while a step has changed its tasks and has not committed. The next step
    changes them again, and the operation counts each once."""
    monkeypatch.setattr("leaseq.operations.bulk.bulk_runner.STEP_TASKS", 50)
    engine = own.service.engine
    ids = await failed(engine, COUNT)
    hit = asyncio.Event()
    act = BulkRunner._act

    async def interrupted(
        self: BulkRunner, step: Step, task_ids: list[str], *, conn: Connection
    ) -> int:
        done = await act(self, step, task_ids, conn=conn)
        if step.done >= 100 and not hit.is_set():
            own_postgres.kill()
            hit.set()
        return done

    monkeypatch.setattr(BulkRunner, "_act", interrupted)
    operation = await started(own, body_of("redrive", rate=200.0, type="add"))
    await hit.wait()
    await asyncio.to_thread(own_postgres.start)
    later = await failed(engine, 10)
    done = await until_done(own, operation["operation_id"])
    assert (done["done"], done["refused"]) == (COUNT, 0)
    assert await states(engine, ids) == {State.SCHEDULED: COUNT}
    assert await states(engine, later) == {State.FAILED: 10}, "they failed after its start"
