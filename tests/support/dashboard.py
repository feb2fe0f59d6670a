"""An application with invented work, and its dashboard in a browser."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from leaseq.ledger.task_types import TaskType
from leaseq.ledger.workers import WorkerLedger
from leaseq.observability.telemetry import emit
from leaseq_api.http_server.exchange import Application
from support.api import Api
from support.browser import Tab, browsing
from support.ledger import open_worker
from support.raw_http import serving

HOSTILE = '"><img src=x onerror=document.title=1>{{7*7}}'


@pytest.fixture
async def filled(api: Api, worker_ledger: WorkerLedger) -> Api:
    """An application with a few queues, one of them in trouble."""
    await fill(api, worker_ledger)
    return api


async def fill(api: Api, worker_ledger: WorkerLedger) -> None:
    """Make a few queues, one of them in trouble."""
    await open_worker(worker_ledger, "billing", "default")
    for queue, count in (("billing", 12), ("mail", 40), ("default", 3)):
        for number in range(count):
            await api.submitted({"type": "charge", "payload": {"n": number}, "queue": queue})
    async with api.service.engine.announced("api"):
        await api.client.post("/api/queues/default/pause", json={"reason": HOSTILE})
        emit(
            "worker.reaped", worker_id="w1", reason="lapsed", tasks=3, sessions_ended=0, first=True
        )
        emit("loop.failed", loop="sweep", error=HOSTILE)


async def fill_rules(api: Api) -> None:
    """Make a limit whose permits are all given, with a line, and schedules, one of them paused."""
    await api.client.put("/api/limits/stripe", json={"concurrency": 2, "key_concurrency": 1})
    await api.service.engine.stores.task_types.register_types(
        [TaskType("pay", "billing", None, limit_name="stripe", limit_key="customer")]
    )
    await api.service.types.refresh()
    for customer in ("acme", "acme", "blue"):
        payload = {"customer": customer, "password": "hunter2"}
        await api.submitted({"type": "pay", "payload": payload, "queue": "billing"})
    await api.service.engine.limits.admit("stripe")
    daily = {"type": "pay", "payload": payload, "cron": "0 6 * * *", "tz": "Europe/Zurich"}
    await api.client.put("/api/schedules/daily", json=daily | {"overlap": "skip"})
    await api.client.post("/api/schedules/daily/run")
    hourly = {"type": "report", "every_seconds": 3600, "jitter_seconds": 60}
    await api.client.put("/api/schedules/hourly", json=hourly)
    await api.client.post("/api/schedules/hourly/pause")


@asynccontextmanager
async def shown(api: Api, profile: Path) -> AsyncIterator[tuple[Tab, str]]:
    """A tab, and the address of the application."""
    async with serving(cast(Application, api.app)) as served, browsing(profile) as tab:
        yield tab, f"http://127.0.0.1:{served.port}"


__all__ = ["HOSTILE", "fill", "fill_rules", "filled", "shown"]
