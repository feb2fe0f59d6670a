"""Quotas of tenants with real API processes, one of which is killed."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from leaseq.config import Config
from leaseq.connections.postgres_connection import Connection
from leaseq.operations.open_engine import open_engine
from support.processes import Services
from support.worker import until

ACME = {"Leaseq-Tenant": "acme"}
TASK = {"type": "add", "payload": 1}


async def start(services: Services, **env: str) -> httpx.AsyncClient:
    """An API process, which runs open; a client for it that is bound to the tenant."""
    service = await services.start("api", "--port", "0", **env)
    (said,) = await service.hear("api.started")
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{said['port']}", headers=ACME)


async def used(client: httpx.AsyncClient) -> int | None:
    """The unfinished tasks that a process knows of."""
    quota = (await client.get("/api/quota")).json()["unfinished"]
    return None if quota is None else int(quota["used"])


@pytest.fixture
async def limited(config: Config) -> None:
    """A tenant with quotas."""
    async with open_engine(config) as engine:
        await engine.access.create_tenant("acme")
        await engine.access.limit_tenant("acme", {"unfinished": 5, "payload_bytes_per_day": 100})


@pytest.mark.parametrize("point", ["submit.sent", "submit.committed", "submit.answering"])
async def test_a_killed_process_leaves_no_task_that_is_not_counted(
    services: Services, limited: None, plain: Connection, tmp_path: Path, point: str
) -> None:
    """Killed behind the commit, before the process counts the task or answers."""
    services.executing = True
    doomed = await start(services, LEASEQ_CHAOS_FAILPOINTS=str(tmp_path))
    survivor = await start(services)
    async with doomed, survivor:
        for _ in range(3):
            assert (await doomed.post("/api/tasks", json=TASK)).status_code == 202
        (tmp_path / point).write_text("kill")
        with pytest.raises(httpx.HTTPError):
            await doomed.post("/api/tasks", json=TASK)

        async def knows_four() -> bool:
            return await used(survivor) == 4

        await until(knows_four)
        last = await survivor.post("/api/tasks", json=TASK)
        assert last.status_code == 202
        assert (await survivor.post("/api/tasks", json=TASK)).status_code == 429
        # It sweeps, too.
        cancelled = await survivor.post(f"/api/tasks/{last.json()['task_id']}/cancel")
        assert cancelled.status_code == 200
        await until(knows_four)
        assert (await survivor.post("/api/tasks", json=TASK)).status_code == 202
    # The bytes of its last second are lost at most.
    rows = await (await plain.execute("select sum(bytes) from leaseq.payload_bytes")).fetchall()
    assert rows[0][0] is None or rows[0][0] <= 6
