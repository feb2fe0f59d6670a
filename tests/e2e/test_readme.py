"""The README's examples work as shown.

Every block marked `test` is run as it stands, against a real `leaseq dev examples.orders:app`; only
the port is another. The block marked `output` after it says what has to come out: each of its lines
is in the output, in that order, where `…` stands for anything.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import psycopg
import pytest

from leaseq.embedded import PostgresServer, ValkeyServer
from support.servers import free_port
from support.source_tree import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
START_SECONDS = 120


class Block(NamedTuple):
    """A command and its expected output."""

    code: str
    output: list[str]


def blocks(language: str) -> list[Block]:
    """The blocks of one language that are marked `test`."""
    pattern = rf"^```{language} test\n(.*?)^```\n+```text output\n(.*?)^```$"
    found = re.findall(pattern, README, re.DOTALL | re.MULTILINE)
    return [Block(code, output.splitlines()) for code, output in found]


def missing(output: str, wanted: list[str]) -> list[str]:
    """Those of the wanted lines that are not in the output, or not in that order."""
    lines = iter(output.splitlines())
    return [
        line
        for line in wanted
        if not any(re.fullmatch(pattern(line), said, re.IGNORECASE) for said in lines)
    ]


def pattern(line: str) -> str:
    return ".*".join(re.escape(part) for part in line.split("…"))


class Dev(NamedTuple):
    """A running `leaseq dev`: its address, its environment, and the directory in which it was
    started."""

    port: int
    env: dict[str, str]
    home: Path
    postgres_url: str


@pytest.fixture
async def dev(tmp_path: Path) -> AsyncIterator[Dev]:
    """Everything for the orders, until the test is over."""
    port, data = free_port(), tmp_path / "data"
    own = {name: value for name, value in os.environ.items() if not name.startswith("LEASEQ_")}
    env = own | {
        "LEASEQ_DATA_DIR": str(data),
        "LEASEQ_API_PORT": str(port),
        "PYTHONPATH": str(ROOT),
    }
    try:
        async with serving(tmp_path, env, "dev", "examples.orders:app", "--no-reload"):
            await until_types_are_known(port)
            yield Dev(port, env, tmp_path, PostgresServer(data / "postgres").url)
    finally:
        for server in (PostgresServer(data / "postgres"), ValkeyServer(data / "valkey")):
            server.destroy()


@asynccontextmanager
async def serving(home: Path, env: dict[str, str], *arguments: str) -> AsyncIterator[None]:
    """Run `leaseq ARGUMENTS` within the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "leaseq", *arguments, cwd=home, env=env
    )
    try:
        yield
    finally:
        process.terminate()
        assert await asyncio.wait_for(process.wait(), START_SECONDS) == 0


async def until_types_are_known(port: int) -> None:
    """The API knows what the worker can run as soon as it refuses what the worker could not
    take."""
    wrong = {"type": "charge", "payload": {"no": "order"}, "queue": "nobody"}
    headers = {"Idempotency-Key": "are-you-there"}
    async with (
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60
        ) as client,
        asyncio.timeout(START_SECONDS),
    ):
        while True:
            try:
                if (await client.post("/api/tasks", json=wrong)).status_code == 422:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)


async def run(dev: Dev, *command: str, stdin: str = "") -> str:
    """Run a program where `leaseq dev` runs; what it printed. It must end well."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=dev.home,
        env=dev.env,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, wrong = await process.communicate(stdin.encode())
    assert process.returncode == 0, wrong.decode()
    return said.decode()


@pytest.mark.slow("runs `leaseq dev` and the README as programs")
async def test_the_curl_lines(dev: Dev) -> None:
    """In one shell, one after the other, as a reader would."""
    shown = blocks("sh")
    assert len(shown) == 4
    script = "\necho; echo ----\n".join(block.code for block in shown).replace(
        "127.0.0.1:8000", f"127.0.0.1:{dev.port}"
    )
    # An answer ends without a new line, and the next one must not stand behind it.
    script = re.sub(r"^curl ", "curl --write-out '\\\\n' ", script, flags=re.MULTILINE)
    answers = (await run(dev, "sh", stdin=script)).split("----\n")
    for block, answer in zip(shown, answers, strict=True):
        assert missing(answer, block.output) == [], answer
    with psycopg.connect(dev.postgres_url) as conn:
        assert conn.execute("select order_id, cents from charges").fetchall() == [(7, 1250)], (
            "Ada is charged once"
        )


@pytest.mark.slow("runs `leaseq dev` and the README as programs")
async def test_the_python_example(dev: Dev) -> None:
    (block,) = blocks("python")
    (dev.home / "shop.py").write_text(block.code, encoding="utf-8")
    async with serving(dev.home, dev.env, "worker", "shop:app"):
        assert missing(await run(dev, sys.executable, "shop.py"), block.output) == []
    with psycopg.connect(dev.postgres_url) as conn:
        assert conn.execute("select sku, pieces from reserved").fetchall() == [("espresso", 2)]


@pytest.mark.slow("runs `leaseq dev` and the README as programs")
async def test_readme_clients_run_as_printed(dev: Dev) -> None:
    """examples/client.sh takes the address; examples/http_client.py has the one of the README."""
    said = await run(
        dev, "sh", str(ROOT / "examples" / "client.sh"), f"http://127.0.0.1:{dev.port}"
    )
    assert '"state":"SUCCESS"' in said
    client = (
        (ROOT / "examples" / "http_client.py")
        .read_text(encoding="utf-8")
        .replace(":8000", f":{dev.port}")
    )
    first, second, last = (await run(dev, sys.executable, "-", stdin=client)).splitlines()
    assert first.split()[0] == second.split()[0]
    assert (first.split()[-1], second.split()[-1]) == ("false", "true")
    assert last.startswith("SUCCESS {'charge_id': 1, 'order_id': 7, 'balance_cents': -1250}")


def test_a_line_that_does_not_come_out_is_noticed() -> None:
    said = "HTTP/1.1 202 Accepted\nlocation: /api/tasks/1\n"
    assert missing(said, ["HTTP/1.1 202 Accepted", "Location: /api/tasks/…"]) == []
    assert missing(said, ["HTTP/1.1 201 Created"]) == ["HTTP/1.1 201 Created"]
    assert missing(said, ["location: …", "HTTP/1.1 …"]) == ["HTTP/1.1 …"], "the order counts"
