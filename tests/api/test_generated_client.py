"""A generated client of the OpenAPI document works with the service."""

from __future__ import annotations

import asyncio
import importlib
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from leaseq.ledger.tasks import TaskLedger
from leaseq.ledger.workers import WorkerLedger
from support.api import Api
from support.ledger import claim_task, open_worker, succeeded

PACKAGE = "leaseq_generated_client"
# The code is run and not read, so it needs no formatting.
# It knows no lines of JSON: they are a file to it.
SETTINGS = (
    "post_hooks: []\ncontent_type_overrides:\n  application/x-ndjson: application/octet-stream\n"
)


async def generate(document: dict[str, Any], folder: Path) -> str:
    """Generate the client into a package under `folder`; what the generator says."""
    (folder / "openapi.json").write_bytes(msgspec.json.encode(document))
    (folder / "settings.yml").write_text(SETTINGS)
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-m",
            "openapi_python_client",
            "generate",
            "--path",
            "openapi.json",
            "--config",
            "settings.yml",
        ),
        *("--meta", "none", "--fail-on-warning", "--output-path", PACKAGE),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    return output


async def test_a_generated_client_submits_waits_and_cancels(
    api: Api,
    ledger: TaskLedger,
    worker_ledger: WorkerLedger,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = await generate(api.document.content, tmp_path)
    assert "arning" not in said
    monkeypatch.syspath_prepend(tmp_path)

    def of(name: str) -> Any:
        return importlib.import_module(f"{PACKAGE}.{name}")

    models, tasks = (
        of("models"),
        {name: of(f"api.tasks.{name}") for name in ("submit", "show", "cancel", "list_tasks")},
    )
    client = of("client").Client(base_url="http://localhost").set_async_httpx_client(api.client)

    async def submit(key: str, **options: Any) -> Any:
        body = models.SubmitBody(type_="add", payload={"n": 1}, **options)
        return await tasks["submit"].asyncio(client=client, body=body, idempotency_key=key)

    done = await submit("generated-1", max_attempts=3)
    again = await submit("generated-1", max_attempts=3)
    assert (done.state, again.task_id) == (models.State.PENDING, done.task_id)
    assert isinstance(done.task_id, UUID)
    claim = await claim_task(ledger, str(done.task_id), await open_worker(worker_ledger))
    waiting = asyncio.create_task(tasks["show"].asyncio(done.task_id, client=client, wait=60.0))
    running = await tasks["cancel"].asyncio_detailed(done.task_id, client=client)
    assert (running.status_code, running.parsed.state) == (202, models.State.PROCESSING)
    assert running.parsed.cancel_requested_at is not None
    await ledger.settle([succeeded(claim, b"[1]")])
    ended = await waiting
    assert (ended.state, ended.result) == (models.State.SUCCESS, [1])
    conflict = await tasks["cancel"].asyncio_detailed(done.task_id, client=client)
    assert (conflict.status_code, conflict.parsed.code) == (409, "task_conflict")
    stopped = await tasks["cancel"].asyncio_detailed(
        (await submit("generated-2")).task_id, client=client
    )
    assert (stopped.status_code, stopped.parsed.state) == (200, models.State.CANCELLED)
    page = await tasks["list_tasks"].asyncio(client=client, state=models.ListTasksState.CANCELLED)
    assert [task.task_id for task in page.tasks] == [stopped.parsed.task_id]
