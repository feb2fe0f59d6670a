"""Several API processes on one port answer a scrape as one."""

from __future__ import annotations

import signal

import httpx
import pytest
from msgspec.structs import replace

from leaseq.config import Config
from support.metrics import Scraped, parse
from support.processes import Service, Services, send
from support.servers import free_port
from support.worker import until

SUBMISSION = {"type": "add", "payload": {"n": 1}}
SUBMITTED = "leaseq_submissions_total"


@pytest.fixture
def config(config: Config) -> Config:
    return replace(config, api_port=free_port(), api_processes=2)


@pytest.fixture
async def service(config: Config, services: Services) -> Service:
    """A command whose processes all listen."""
    service = await services.start("api")
    await service.hear("api.started", count=2)
    return service


async def ask(config: Config, method: str, path: str, **more: object) -> httpx.Response:
    """Over a connection of its own, so that the kernel chooses a process again."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{config.api_port}") as http:
        return await http.request(method, path, **more)  # type: ignore[arg-type]


async def submit(config: Config, count: int) -> None:
    for _ in range(count):
        assert (await ask(config, "POST", "/api/tasks", json=SUBMISSION)).status_code == 202


async def scrape(config: Config) -> Scraped:
    answer = await ask(config, "GET", "/metrics")
    assert answer.status_code == 200, answer.text
    return parse(answer.text, answer.headers["content-type"])


async def until_total(config: Config, count: int) -> None:
    async def is_counted() -> bool:
        return (await scrape(config)).total(SUBMITTED) == count

    await until(is_counted)


async def test_every_process_answers_for_all(config: Config, service: Service) -> None:
    await submit(config, 20)
    await until_total(config, 20)
    found = [await scrape(config) for _ in range(12)]
    assert {each.total(SUBMITTED) for each in found} == {20}
    assert {each.total("leaseq_store_up", store="ledger") for each in found} == {1}
    pids = {line["pid"] for line in service.heard("api.started")}
    assert len(pids) == 2
    cpu = [sample for sample in found[0].samples if sample.name == "process_cpu_seconds_total"]
    assert {sample.labels["child"] for sample in cpu} == {"0", "1"}
    assert {sample.labels["role"] for sample in cpu} == {"api"}


async def test_a_counter_does_not_fall_when_a_process_is_killed(
    config: Config, service: Service
) -> None:
    await submit(config, 20)
    await until_total(config, 20)
    victim = service.heard("api.started")[0]["pid"]
    send(victim, signal.SIGKILL)
    await service.hear("process.ended", pid=victim)
    await service.hear("api.started", count=3)
    assert {(await scrape(config)).total(SUBMITTED) for _ in range(8)} == {20}
    await submit(config, 10)
    await until_total(config, 30)


async def test_gauges_are_sums(config: Config, service: Service) -> None:
    answer = await ask(config, "POST", "/api/tasks", json=SUBMISSION | {"delay_seconds": 60})
    path = f"http://127.0.0.1:{config.api_port}/api/tasks/{answer.json()['task_id']}/events"
    async with (
        httpx.AsyncClient() as http,
        http.stream("GET", path),
        http.stream("GET", path),
        http.stream("GET", path),
    ):

        async def are_held() -> bool:
            return (await scrape(config)).total("leaseq_held_answers") == 3

        await until(are_held)


async def test_a_frozen_holder_of_the_port_is_told(config: Config, service: Service) -> None:
    send(service.pid, signal.SIGSTOP)
    try:
        answer = await ask(config, "GET", "/metrics")
    finally:
        send(service.pid, signal.SIGCONT)
    assert answer.status_code == 503
    assert answer.json()["code"] == "server_unreachable"
    await until_total(config, 0)
