"""A redrive of thousands at a rate, with a stop and a kill."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import httpx

from leaseq.config import Config
from leaseq.model import State
from leaseq.operations.open_engine import open_engine
from leaseq_chaos.pace import Pace
from support.bulk import body_of, failed, states
from support.processes import Service, Services
from support.worker import until

COUNT = 5_000
RATE = 500.0


async def start_api(services: Services) -> tuple[Service, httpx.AsyncClient]:
    service = await services.start("api", "--port", "0")
    (told,) = await service.hear("api.started")
    return service, httpx.AsyncClient(base_url=f"http://127.0.0.1:{told['port']}", timeout=30)


class Watched:
    """One operation, as an API process shows it."""

    def __init__(self, client: httpx.AsyncClient, operation_id: str) -> None:
        self._client = client
        self._path = f"/api/operations/{operation_id}"

    async def show(self) -> dict[str, Any]:
        answer = await self._client.get(self._path)
        assert answer.status_code == 200, answer.text
        operation: dict[str, Any] = answer.json()
        return operation

    async def stop(self) -> dict[str, Any]:
        operation: dict[str, Any] = (await self._client.post(f"{self._path}/stop")).json()
        return operation

    async def until(self, count: int) -> None:
        """Wait until so many tasks are done."""

        async def enough() -> bool:
            return bool((await self.show())["done"] >= count)

        await until(enough)


async def test_five_thousand_at_a_rate_with_a_stop_and_a_kill(
    services: Services, config: Config, pace: Pace
) -> None:
    """Two API processes; the one that works is killed. The rate holds, a stop acts within a second, and each
    task is changed once."""
    services.executing = True
    async with open_engine(config) as engine:
        ids = await failed(engine, COUNT)
        apis = [await start_api(services) for _ in range(2)]
        body = body_of("redrive", rate=RATE, type="add")
        loop = asyncio.get_running_loop()
        began = loop.time()
        started = await apis[0][1].post("/api/operations", json=body)
        assert started.json()["total"] == COUNT
        later = await failed(engine, 50)
        watched = Watched(apis[0][1], body["operation_id"])
        await watched.until(1_000)
        asked = loop.time()
        stopped = await watched.stop()
        assert loop.time() - asked < 1.0 * pace.slowness
        elapsed = loop.time() - began
        assert stopped["done"] <= RATE * (elapsed + 1.0)
        found = await states(engine, ids)
        assert found == {State.SCHEDULED: stopped["done"], State.FAILED: COUNT - stopped["done"]}

        resumed = loop.time()
        await apis[0][1].post(f"/api/operations/{body['operation_id']}/resume")
        await watched.until(stopped["done"] + 500)
        record = await engine.bulk.find(body["operation_id"], tenant=None)
        working = str(record.touched_by).split(":")[1]
        dead, alive = sorted(apis, key=lambda api: str(api[0].pid) != working)
        dead[0].signal(signal.SIGKILL)
        watched = Watched(alive[1], body["operation_id"])

        async def is_done() -> bool:
            return bool((await watched.show())["state"] == "done")

        await until(is_done)
        done = await watched.show()
        # Not sooner than the rate allows; a second accumulates at most, at the start and after the kill.
        assert loop.time() - resumed >= (COUNT - stopped["done"]) / RATE - 2.0
        assert (done["done"], done["refused"]) == (COUNT, 0)
        assert await states(engine, ids) == {State.SCHEDULED: COUNT}
        assert await states(engine, later) == {State.FAILED: 50}
        for _, client in apis:
            await client.aclose()
