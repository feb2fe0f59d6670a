"""The services start, stop, and refuse to start with the right exit code."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from msgspec.structs import replace

from leaseq.config import Config
from leaseq.embedded import PostgresServer
from leaseq.embedded.processes import alive
from leaseq.model import State
from support.client import Client
from support.processes import Service, Services, environment
from support.servers import free_port

TESTS = Path(__file__).parents[1]


async def run(*args: str, config: Config, cwd: Path = TESTS, **env: str) -> tuple[int, str, str]:
    """Run `leaseq ARGS` to its end; exit code, stdout, stderr."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "leaseq",
        *args,
        env=environment(config) | env,
        cwd=cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(60):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def until_ready(service: Service, port: int) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
        while True:
            assert service.process.returncode is None, service.other
            try:
                answer = await http.get("/health/ready")
            except httpx.TransportError:
                await asyncio.sleep(0.02)  # no event announces the opening of a port
                continue
            assert answer.status_code == 200, answer.text
            return


async def test_a_task_goes_all_the_way_and_every_process_stops_cleanly(
    services: Services, client: Client
) -> None:
    port = free_port()
    reaper, worker = await services.reaper(), await services.worker("--concurrency", "3")
    api = await services.start("api", "--port", str(port))
    await until_ready(api, port)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
        answer = await http.post("/api/tasks", json={"type": "aside", "payload": {"n": 3}})
    assert answer.status_code == 202, answer.text
    task = await client.ended(answer.json()["task_id"])
    assert (task.state, task.result, task.queue) == (State.SUCCESS, b"3", "side")
    (started,) = worker.heard("supervisor.started")
    assert (started["queues"], started["concurrency"]) == (["default", "side"], 3), (
        "the queues of the app's handlers"
    )
    children = worker.children
    for service, number in (
        (api, signal.SIGHUP),
        (worker, signal.SIGTERM),
        (reaper, signal.SIGHUP),
    ):
        service.signal(number)
    assert [await service.ended() for service in (api, worker, reaper)] == [0, 0, 0], (
        "a hangup is a SIGTERM"
    )
    assert not any(alive(pid) for pid in children)


async def test_worker_serves_the_queues_of_its_option(services: Services, client: Client) -> None:
    worker = await services.worker("--queues", "side, other")
    assert worker.heard("supervisor.started")[0]["queues"] == ["other", "side"]
    assert (
        await client.ended(await client.submit("aside", n=1, options={"queue": "side"}))
    ).state is State.SUCCESS
    worker.signal(signal.SIGINT)
    assert await worker.ended() == 0


@pytest.mark.parametrize("service", ["api", "reaper", "worker"])
async def test_an_unfit_server_is_refused_in_one_line(
    service: str, config: Config, postgres_url: str
) -> None:
    readonly = replace(
        config, postgres_url=f"{postgres_url}?options=-c%20default_transaction_read_only%3Don"
    )
    args = ["worker", "apps.probe:app"] if service == "worker" else [service]
    code, out, err = await run(*args, config=readonly)
    assert (code, out) == (5, "")
    assert err.splitlines()[-1].startswith(
        "leaseq: Postgres: default_transaction_read_only is on: "
    )
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["worker", "nosuch:app"], 2, "there is no module 'nosuch'"),
        (["worker", "apps.probe:nosuch"], 2, "is not a Leaseq app"),
        (["worker", "apps.probe"], 2, "write module:attribute"),
        (["worker", "apps.probe:app", "--queues", "a b"], 2, "not a queue name"),
        (["worker", "apps.probe:app", "--concurrency", "0"], 2, "--concurrency"),
        (["api", "--host", "0.0.0.0"], 2, "--insecure"),
    ],
)
async def test_a_mistake_ends_it_before_it_begins(
    args: list[str], code: int, said: str, config: Config
) -> None:
    ended, out, err = await run(*args, config=config)
    assert (ended, out) == (code, "")
    assert said in err
    assert "Traceback" not in err


async def test_an_app_that_raises_is_shown_with_its_own_lines_only(
    config: Config, tmp_path: Path
) -> None:
    (tmp_path / "sick.py").write_text(
        "def boil():\n    raise ValueError('too hot')\n\nboil()\n", encoding="utf-8"
    )
    code, _, err = await run("worker", "sick:app", config=config, cwd=tmp_path)
    assert code == 1
    assert "ValueError: too hot" in err
    assert err.count('File "') == 2, "the frames of the module, none of ours"
    assert err.splitlines()[-1] == "leaseq: sick:app cannot be imported: fix the error above"


async def test_an_old_schema_is_refused_until_it_is_migrated(
    config: Config, own_postgres: PostgresServer
) -> None:
    # there are no roles yet
    config = replace(config, postgres_url=own_postgres.url, handler_postgres_url=None)
    code, _, err = await run("reaper", config=config)
    assert code == 5
    assert err.splitlines()[-1].endswith("run `leaseq migrate`")
    code, out, _ = await run("migrate", config=config)
    assert (code, out.splitlines()[0].startswith("applied 0001_")) == (0, True)
    code, out, _ = await run("migrate", config=config)
    assert (code, out.endswith("; nothing to do\n")) == (0, True)


async def test_a_service_starts_without_redis(services: Services) -> None:
    """Redis being away is a warning, not a refusal."""
    away = await services.start("reaper", LEASEQ_REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    await away.hear("dispatch.unreachable")
    await away.hear("reaper.started")
    away.signal(signal.SIGTERM)
    assert await away.ended() == 0


async def test_services_without_urls_share_embedded_servers_and_leave_none(
    config: Config, data_dir: Path
) -> None:
    alone = replace(
        config, postgres_url=None, handler_postgres_url=None, redis_url=None, data_dir=data_dir
    )
    services = Services(alone)
    try:
        worker = await services.worker()
        code, out, err = await run(
            "submit", "aside", '{"n": 4}', "--wait", "--timeout", "20", config=alone
        )
        assert (code, out.splitlines()[1:]) == (0, ["4"]), err
        servers = [int(pid_file.read_text().split()[0]) for pid_file in pid_files(data_dir)]
        assert len(servers) == 2
        assert all(alive(pid) for pid in servers)
        worker.signal(signal.SIGTERM)
        assert await worker.ended(timeout=60) == 0
        assert not any(alive(pid) for pid in servers), "the last one stops the servers"
    finally:
        await services.destroy()


def pid_files(data: Path) -> list[Path]:
    """The pid files of both embedded servers, wherever their files lie."""
    homes = [
        Path((data / name / "elsewhere").read_text().strip())
        if (data / name / "elsewhere").exists()
        else data / name
        for name in ("postgres", "valkey")
    ]
    return [homes[0] / "server" / "data" / "postmaster.pid", homes[1] / "server" / "valkey.pid"]


async def test_missing_right_of_a_role_is_reported_in_one_line(
    config: Config, client: Client
) -> None:
    await client.rows("create role nobody_much login password 'x'")
    try:
        url = urlsplit(str(config.postgres_url))
        stranger = url._replace(netloc=f"nobody_much:x@{url.netloc.rpartition('@')[2]}").geturl()
        for args in (["migrate"], ["list"], ["reaper"]):
            code, out, err = await run(*args, config=replace(config, postgres_url=stranger))
            assert (code, out) == (5, ""), (args, err)
            assert "permission denied" in err.splitlines()[-1]
            assert "Traceback" not in err
    finally:
        await client.rows("drop role nobody_much")
