"""The example in TypeScript compiles with the types of the document, and works."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest

from examples.typescript.make_types import TARGET, document, types_of
from support.api import Api
from support.processes import Services
from support.source_tree import ROOT

EXAMPLE = ROOT / "examples" / "typescript"
WRONG = """\
import type { Operations, SubmitBody } from "./leaseq.js";
export const body: SubmitBody = { type: "add", payload: 1, priority: "urgent" };
export const path: Operations["show"]["path"] = "/api/task";
"""

needs_compiler = pytest.mark.skipif(
    shutil.which("tsc") is None or shutil.which("node") is None,
    reason="node and tsc (Debian: nodejs, node-typescript) are not installed",
)


def compiled(folder: Path) -> subprocess.CompletedProcess[str]:
    """A copy of the example, compiled where it is."""
    shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True)
    return subprocess.run(
        ["tsc", "--project", str(folder)], capture_output=True, text=True, check=False
    )


async def test_types_are_made_from_the_document_of_the_service(api: Api) -> None:
    text = TARGET.read_text(encoding="utf-8")
    assert types_of(api.document.content) == text, "run `make generated`"
    assert types_of(document()) == text


@needs_compiler
async def test_example_runs(address: str, services: Services, tmp_path: Path) -> None:
    services.directory = ROOT
    env = {"ORDERS_REPORTS": str(tmp_path / "reports")}
    worker = await services.start("worker", "examples.orders:app", "--processes", "1", **env)
    await worker.hear("worker.opened")
    result = await asyncio.to_thread(compiled, tmp_path)
    assert result.returncode == 0, result.stdout
    run = await asyncio.create_subprocess_exec(
        *("node", str(tmp_path / "client.js"), address),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = (await run.communicate())[0].decode().splitlines()
    assert run.returncode == 0, output
    assert output[0] == "the same task: true"
    assert output[1].startswith('SUCCESS {"file":"')
    assert output[2:] == ["422 idempotency_key_reused"]


@needs_compiler
def test_compiler_finds_what_the_document_does_not_allow(tmp_path: Path) -> None:
    (tmp_path / "wrong.ts").write_text(WRONG, encoding="utf-8")
    result = compiled(tmp_path)
    assert result.returncode != 0
    found = [line for line in result.stdout.splitlines() if "error" in line]
    assert len(found) == 2
    assert "urgent" in found[0]
    assert "/api/task" in found[1]
