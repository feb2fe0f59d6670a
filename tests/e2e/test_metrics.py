"""The counters of a fleet are those of the ledger, while a process is killed."""

from __future__ import annotations

import asyncio
import signal
from datetime import datetime

import httpx
import pytest
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.loop import end
from leaseq_chaos.pace import Pace
from support.client import Client
from support.metrics import OPENMETRICS, metrics_port, scrape
from support.processes import Said, Services, send
from support.worker import until

TASKS = 10_000
ATTEMPTS = "leaseq_attempts_total"
COUNT_ATTEMPTS = "select sum(attempt)::integer from leaseq.tasks"


@pytest.fixture
def config(config: Config) -> Config:
    return replace(config, lease_seconds=2.0, heartbeat_seconds=0.4, concurrency=20)


async def watch(port: int, sums: list[float]) -> None:
    """Scrape a supervisor until cancelled, in both formats in turn."""
    while True:
        found = await scrape(port, accept=OPENMETRICS if len(sums) % 2 else "")
        sums.append(found.total(ATTEMPTS))
        await asyncio.sleep(0.1)


async def test_attempts_are_those_of_the_ledger_but_for_the_last_second_of_a_killed_process(
    services: Services, client: Client, pace: Pace
) -> None:
    ids = await client.submit_many("nap", TASKS, seconds=0.05)
    worker = await services.worker(children=3, LEASEQ_METRICS_PORT="0", LEASEQ_LOG_LEVEL="info")
    sums = [0.0]
    watching = asyncio.create_task(watch(await metrics_port(worker), sums))
    await until(lambda: sums[-1] > TASKS // 2)
    victim = worker.children[0]
    send(victim, signal.SIGKILL)
    await worker.hear("child.died", pid_of_child=victim)
    await client.all_ended(ids)
    ((begun,),) = await client.rows(COUNT_ATTEMPTS)
    settled = worker.heard("attempt.settled", pid=victim)
    recent = [line for line in settled if age(settled[-1], line) < 2 * pace.slowness]
    unlogged = TASKS - len(worker.heard("attempt.settled", outcome="succeeded"))
    missing = len(recent) + unlogged
    await until(lambda: sums[-1] >= begun - missing)
    await end(watching)
    assert sums == sorted(sums), "a counter fell"
    assert sums[-1] <= begun, "an attempt was counted twice"


async def test_counts_outlive_their_process(services: Services, client: Client) -> None:
    worker = await services.worker(LEASEQ_METRICS_PORT="0")
    port = await metrics_port(worker)
    await client.all_ended(await client.submit_many("nap", 20, seconds=0))
    (held,) = await client.submit_many("nap", 1, seconds=60)
    await until_total(port, 20, outcome="succeeded")
    send(worker.children[0], signal.SIGKILL)
    await worker.hear("attempt.started", task_id=held, attempt=2)
    await until_total(port, 1, outcome="lost")

    async def is_running() -> bool:
        return (await scrape(port)).total("leaseq_running_oldest_seconds", queue="default") > 0

    await until(is_running)
    found = await scrape(port)
    cpu = [each for each in found.samples if each.name == "process_cpu_seconds_total"]
    assert sorted(each.labels["child"] for each in cpu) == ["", "0"]
    assert found.total(ATTEMPTS, queue="default", type="nap") == 21
    assert found.total("leaseq_tasks_ended_total", state="SUCCESS") == 20
    assert found.total("leaseq_attempt_duration_seconds_count") == 20
    assert found.total("leaseq_wait_seconds_count") >= 20
    assert found.total("leaseq_crashes_total", kind="loss") == 1
    assert found.total("leaseq_child_exits_total", reason="died") == 1
    assert found.total("leaseq_children") == 1
    assert found.total("leaseq_store_up") == 2
    assert 0 <= found.total("leaseq_heartbeat_age_seconds") < 2.0


async def test_the_api_measures_its_requests_by_route(services: Services) -> None:
    service = await services.start("api", "--port", "0")
    (started,) = await service.hear("api.started")
    address = f"http://127.0.0.1:{started['port']}"
    async with httpx.AsyncClient(base_url=address) as http:
        answer = await http.post("/api/tasks", json={"type": "nap", "payload": {"seconds": 0}})
        assert answer.status_code == 202, answer.text
        for _ in range(2):
            await http.get(f"/api/tasks/{answer.json()['task_id']}")
        await http.request("BREW", "/api/tasks")
        await http.get("/nowhere", headers={"Host": "evil.example"})
    found = await scrape(started["port"])
    requests = "leaseq_http_request_duration_seconds_count"
    assert found.total(requests, method="POST", route="/api/tasks", status="202") == 1
    assert found.total(requests, method="GET", route="/api/tasks/{task_id}", status="200") == 2
    assert found.total(requests, method="GET", route="", status="421") == 1
    assert found.total("leaseq_refusals_total", code="host_unknown") == 1
    assert found.total("leaseq_submissions_total", type="nap", result="created") == 1


async def until_total(port: int, count: int, **labels: str) -> None:
    async def is_counted() -> bool:
        return (await scrape(port)).total(ATTEMPTS, **labels) == count

    await until(is_counted)


def age(newer: Said, older: Said) -> float:
    """The seconds between two lines of a log."""
    newest, oldest = (datetime.fromisoformat(line["timestamp"]) for line in (newer, older))
    return (newest - oldest).total_seconds()
