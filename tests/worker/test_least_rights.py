"""The inheritance of a worker process: no passwords, no local modules."""

from __future__ import annotations

import signal
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from leaseq.model import State, Task
from support.client import Client
from support.processes import TESTS, Services, send
from support.worker import until

APP = "apps.secrets_app:app"


def result_of(task: Task) -> dict[str, str]:
    assert task.state is State.SUCCESS, task.error
    assert task.result is not None
    return msgspec.json.decode(task.result, type=dict[str, str])


@pytest.mark.parametrize("from_files", [False, True])
async def test_no_program_of_a_handler_inherits_a_password(
    services: Services, client: Client, tmp_path: Path, from_files: bool
) -> None:
    urls = {
        "LEASEQ_POSTGRES_URL": services.config.postgres_url or "",
        "LEASEQ_REDIS_URL": services.config.redis_url or "",
    }
    if services.config.handler_postgres_url:
        urls["LEASEQ_HANDLER_POSTGRES_URL"] = services.config.handler_postgres_url
    env: dict[str, str] = {}
    if from_files:
        for name, url in urls.items():
            (tmp_path / name).write_text(f"{url}\n")
            env |= {f"{name}_FILE": str(tmp_path / name)}
    services.untold = {*urls} if from_files else set()
    services.executing = True
    worker = await services.start("worker", APP, "--processes", "1", **env)
    await worker.hear("worker.opened")
    seen = result_of(await client.ended(await client.submit("look")))
    passwords = [password for url in urls.values() if (password := urlsplit(url).password)]
    assert passwords
    for where in ("environ", "program", "initial", "arguments"):
        assert not [password for password in passwords if password in seen[where]], where
    assert seen["config"] == urls["LEASEQ_POSTGRES_URL"], "the app itself has what it needs"
    if from_files:
        assert seen["second program"] == ""
    else:
        assert "POSTGRES_URL is set but empty (a worker empties it" in seen["second program"]
    task = await client.ended(await client.submit("submits_elsewhere"))
    assert task.state is State.SUCCESS, task.error


async def test_a_child_that_does_not_get_ready_dies_with_its_supervisor(
    services: Services, tmp_path: Path
) -> None:
    """Its import never ends, so it notices neither SIGTERM nor the end of its link."""
    marker = tmp_path / "pid"
    worker = await services.start(
        "worker", "apps.hanging_import:app", "--processes", "1", LEASEQ_TEST_HANGS=str(marker)
    )
    await until(lambda: marker.exists() and marker.read_text() != "", seconds=60)
    pid = int(marker.read_text())
    send(worker.pid, signal.SIGKILL)
    await worker.ended()
    await until(
        lambda: (
            not Path(f"/proc/{pid}").exists()
            or "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
        ),
        seconds=30,
    )


async def test_modules_of_the_working_directory_replace_none_of_the_standard_library(
    services: Services, client: Client, tmp_path: Path
) -> None:
    for name in ("queue", "json", "socket", "asyncio", "redis"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')\n")
    (tmp_path / "apps").symlink_to(TESTS / "apps")
    services.directory, services.executing = tmp_path, True
    worker = await services.start("worker", APP, "--processes", "1")
    await worker.hear("worker.opened")
    assert result_of(await client.ended(await client.submit("look")))
