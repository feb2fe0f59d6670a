"""Operations on many tasks with kills, lost answers, locks and two workers."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import httpx
import pytest
from msgspec.structs import replace

from leaseq import failpoints
from leaseq.config import Config
from leaseq.ledger.bulk_operations import BulkFilter, BulkRecord, BulkRequest, BulkState
from leaseq.ledger.operation_log import Actor
from leaseq.ledger.session import Connection
from leaseq.model import State
from leaseq.observability.telemetry import recorded
from leaseq.operations.bulk.bulk_runner import BulkRunner
from leaseq.operations.engine import Engine
from leaseq.operations.open_engine import open_engine
from support.api import Api, open_api
from support.bulk import act, body_of, failed, refusals, started, states, until, until_done
from support.processes import Service, Services

ACTOR = Actor(name="test", key_id=None, tenant=None)


async def begin(engine: Engine, ids: list[str], *, rate: float) -> str:
    """Start a redrive of these tasks without an API."""
    body = body_of("redrive", ids=ids)
    request = BulkRequest(
        operation_id=body["operation_id"],
        action="redrive",
        filter=BulkFilter(ids=ids),
        rate=rate,
    )
    preview = await engine.bulk.preview("redrive", request.filter, tenant=None)
    return (await engine.bulk.start(request, preview, actor=ACTOR)).operation_id


async def find(engine: Engine, operation_id: str) -> BulkRecord:
    return await engine.bulk.find(operation_id, tenant=None)


async def start_api(services: Services, **env: str) -> tuple[Service, httpx.AsyncClient]:
    """An API process, and a client for it."""
    service = await services.start("api", "--port", "0", **env)
    (told,) = await service.hear("api.started")
    return service, httpx.AsyncClient(base_url=f"http://127.0.0.1:{told['port']}")


@pytest.mark.parametrize("point", ["bulk.acted", "bulk.moved"])
async def test_a_killed_process_is_followed_by_another_and_no_task_is_changed_twice(
    services: Services, config: Config, tmp_path: Path, point: str
) -> None:
    """Killed in its first step, before or behind the commit. The other process starts later."""
    services.executing = True
    async with open_engine(config) as engine:
        ids = await failed(engine, 300)
        doomed, client = await start_api(services, LEASEQ_CHAOS_FAILPOINTS=str(tmp_path))
        (tmp_path / point).write_text("kill")
        body = body_of("redrive", rate=100.0, ids=ids)
        async with client:
            assert (await client.post("/api/operations", json=body)).status_code == 202
            assert await doomed.ended() == -signal.SIGKILL
        left = (await find(engine, body["operation_id"])).done
        assert await states(engine, ids) == {
            state: count
            for state, count in ((State.SCHEDULED, left), (State.FAILED, 300 - left))
            if count
        }
        assert (left > 0) == (point == "bulk.moved")
        other, client = await start_api(services)
        await client.aclose()
        await other.hear("operation.ended")
        done = await find(engine, body["operation_id"])
        assert (done.state, done.done, done.refused) == (BulkState.DONE, 300, 0)
        assert await states(engine, ids) == {State.SCHEDULED: 300}


async def test_a_lost_answer_to_a_step_repeats_nothing(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await failed(api.service.engine, 300)
    monkeypatch.setattr(failpoints, "_directory", str(tmp_path))
    (tmp_path / "bulk.moved").write_text("lost")
    body = body_of("redrive", rate=200.0, ids=ids)
    with recorded() as events:
        done = await until_done(api, (await started(api, body))["operation_id"])
    assert len([event for event in events if event.name == "loop.failed"]) == 1
    assert (done["done"], done["refused"]) == (300, 0)


async def test_two_processes_never_make_a_step_of_one_operation_together(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a lease, so that the lock of the row alone keeps them apart."""
    monkeypatch.setattr("leaseq.operations.bulk.bulk_runner.LEASE_SECONDS", 0.0)
    monkeypatch.setattr("leaseq.operations.bulk.bulk_runner.STEP_TASKS", 20)
    async with open_engine(config, pool_size=8) as engine:
        ids = await failed(engine, 600)
        operation_id = await begin(engine, ids, rate=2000.0)
        stores = engine.stores
        runners = [BulkRunner(stores.bulk_operations, stores.tasks) for _ in range(3)]
        with recorded() as events:
            while (await find(engine, operation_id)).state is not BulkState.DONE:
                await asyncio.gather(*(runner.advance(operation_id) for runner in runners))
        assert len([event for event in events if event.name == "operation.ended"]) == 1
        done = await find(engine, operation_id)
        assert (done.done, done.refused, done.looked) == (600, 0, 600)


async def test_another_process_waits_for_the_end_of_the_lease(config: Config) -> None:
    async with open_engine(config) as engine:
        operation_id = await begin(engine, await failed(engine, 10), rate=1.0)
        stores = engine.stores
        first, second = (BulkRunner(stores.bulk_operations, stores.tasks) for _ in range(2))
        while (await find(engine, operation_id)).done == 0:
            assert await first.work_once()
        assert not await second.work_once()
        await second.advance(operation_id)
        assert (await find(engine, operation_id)).touched_by == first.process


async def test_a_locked_task_holds_up_no_other(config: Config, plain: Connection) -> None:
    async with open_api(replace(config, statement_timeout_seconds=1.0)) as api:
        ids = await failed(api.service.engine, 20)
        async with plain.transaction():
            await plain.execute("update leaseq.tasks set progress = '1' where id = %s", [ids[7]])
            done = await until_done(
                api, (await started(api, body_of("redrive", ids=ids)))["operation_id"]
            )
        assert (done["done"], refusals(done)) == (19, {"locked": 1})


async def test_a_stop_waits_for_the_step_and_none_begins_after_it(
    api: Api, plain: Connection
) -> None:
    engine = api.service.engine
    ids = await failed(engine, 50)
    operation_id = await begin(engine, ids, rate=2000.0)
    async with plain.transaction():
        await plain.execute(
            "select from leaseq.bulk_operations where id = %s for update", [operation_id]
        )
        stopping = asyncio.create_task(act(api, operation_id, "stop"))
        for _ in range(3):
            await engine.bulk_runner.advance(operation_id)
        assert not stopping.done()
    assert (await stopping).json()["state"] == "stopped"
    assert await states(engine, ids) == {State.FAILED: 50}
    await act(api, operation_id, "resume")
    assert (await until(api, operation_id, lambda now: now["state"] == "done"))["done"] == 50
