"""Several API processes share a port, are replaced, drain, and end together."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import psutil
import pytest
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.embedded.processes import alive
from leaseq_api.processes import ApiProcesses
from support.processes import PATIENCE, Service, Services, send
from support.raw_http import Client
from support.servers import free_port

PROCESSES = 2
SUBMISSION = {"type": "add", "payload": {"n": 1}}
BODY = b'{"type":"add","payload":{"n":1}}'
HEAD = b"POST /api/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
START = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY)


@pytest.fixture
def config(config: Config) -> Config:
    return replace(config, api_port=free_port(), api_processes=PROCESSES)


@pytest.fixture
async def service(config: Config, services: Services) -> Service:
    """A command whose processes all listen."""
    service = await services.start("api")
    await service.hear("api.started", count=PROCESSES)
    return service


def pids(service: Service) -> list[int]:
    """The processes that have listened, the first one first."""
    return [line["pid"] for line in service.heard("api.started")]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 (processes emit no event when they end)
            await asyncio.sleep(0.02)


def process_of(client: Client) -> int:
    """The process that has accepted the connection of this client."""
    own = client.writer.get_extra_info("sockname")
    (found,) = [
        connection.pid
        for connection in psutil.net_connections("tcp4")
        # Another connection may come from a port of the same number, to another port.
        if connection.raddr == own and connection.laddr == client.writer.get_extra_info("peername")
    ]
    assert found is not None
    return found


async def connect_to(config: Config, pid: int, opened: list[Client]) -> Client:
    """A connection to one of the processes. The kernel chooses, so this may take several."""
    async with asyncio.timeout(PATIENCE):
        while True:
            client = Client(*await asyncio.open_connection("127.0.0.1", config.api_port))
            opened.append(client)
            answer = await client.ask(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert answer.status == 200
            if process_of(client) == pid:
                return client


@pytest.fixture
async def opened() -> AsyncIterator[list[Client]]:
    """Connections, closed after the test."""
    clients: list[Client] = []
    yield clients
    for client in clients:
        client.close()


async def test_all_processes_answer_on_one_port(
    config: Config, service: Service, opened: list[Client]
) -> None:
    assert {line["port"] for line in service.heard("api.started")} == {config.api_port}
    for pid in pids(service):
        assert pid != service.pid
        answer = await (await connect_to(config, pid, opened)).ask(START + BODY)
        assert answer.status == 202


async def test_a_killed_process_is_replaced_and_the_others_go_on(
    config: Config, service: Service, opened: list[Client]
) -> None:
    killed, other = pids(service)
    theirs = await connect_to(config, other, opened)
    stop = asyncio.Event()
    load = [asyncio.create_task(submit_until(stop, config)) for _ in range(4)]
    await connect_to(config, killed, opened)
    send(killed, signal.SIGKILL)
    await service.hear("process.ended", pid=killed, reason="killed by SIGKILL")
    assert (await theirs.ask(START + BODY)).status == 202
    await service.hear("api.started", count=PROCESSES + 1)
    await connect_to(config, pids(service)[-1], opened)
    stop.set()
    # A connection is lost with its process, and perhaps the next one, where the kernel closed the
    # socket that listens last.
    assert all(lost <= 2 for lost in await asyncio.gather(*load))


async def submit_until(stop: asyncio.Event, config: Config) -> int:
    """Submit one task after the other; returns how often the connection was lost."""
    lost = 0
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{config.api_port}", timeout=PATIENCE
    ) as client:
        while not stop.is_set():
            try:
                assert (await client.post("/api/tasks", json=SUBMISSION)).status_code == 202
            except httpx.TransportError:
                lost += 1
    return lost


async def test_sigterm_drains_all_processes(
    config: Config, service: Service, opened: list[Client]
) -> None:
    begun = [await connect_to(config, pid, opened) for pid in pids(service)]
    for client in begun:
        client.send(START + BODY[:5])
        await client.writer.drain()
    # The processes have read these parts once they answer requests that come later.
    for pid in pids(service):
        await connect_to(config, pid, opened)
    service.signal(signal.SIGTERM)
    await service.hear("api.stopping", count=PROCESSES)
    for client in begun:
        client.send(BODY[5:])
        assert (await client.answer()).status == 202
    assert await service.ended() == 0
    assert len(service.heard("api.stopped")) == PROCESSES
    assert not service.heard("process.ended")
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", config.api_port)


async def test_a_port_that_is_taken_is_refused_once(
    config: Config, service: Service, services: Services
) -> None:
    second = await services.start("api")
    assert await second.ended() == 2
    (line,) = [line for line in second.other if line.startswith("leaseq: cannot listen on")]
    assert str(config.api_port) in line
    assert not second.heard("api.started")


async def test_a_hangup_ends_no_process(
    config: Config, service: Service, opened: list[Client]
) -> None:
    both = pids(service)
    service.signal(signal.SIGHUP)
    service.signal(signal.SIGHUP)
    for pid in both:
        answer = await (await connect_to(config, pid, opened)).ask(START + BODY)
        assert answer.status == 202
    service.signal(signal.SIGTERM)
    assert await service.ended() == 0
    assert not service.heard("process.ended")


@pytest.mark.parametrize("processes", [1, PROCESSES])
async def test_an_address_of_others_without_keys_is_warned_about_once(
    config: Config, services: Services, processes: int
) -> None:
    services.config = replace(config, api_host="0.0.0.0", api_processes=processes)
    service = await services.start("api", "--insecure")
    started = await service.hear("api.started", count=processes)
    assert {line["auth"] for line in started} == {"off"}
    (warning,) = service.heard("api.unprotected")
    assert warning["level"] == "warning"
    assert (warning["host"], warning["port"]) == ("0.0.0.0", config.api_port)


async def test_processes_end_with_a_parent_that_is_killed(service: Service) -> None:
    children = pids(service)
    send(service.pid, signal.SIGKILL)
    await until(lambda: not any(alive(pid) for pid in children))
    assert len(service.heard("api.stopped")) == PROCESSES


async def test_what_prevents_the_first_start_is_the_result(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    real = asyncio.create_subprocess_exec

    async def broken(*command: str, **options: Any) -> asyncio.subprocess.Process:
        started.append(list(command))
        return await real("false", **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", broken)
    assert await ApiProcesses(config).run() == 1
    assert len(started) == 1
