"""Each page that the benchmark lists answers within the budget of blocks."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import msgspec
import pytest
from bench.measures.pages import MOST_BLOCKS, PATHS
from bench.paper import Report

ROOT = Path(__file__).parents[2]
SECONDS = 300


@pytest.mark.slow("fills a ledger and asks every page, as a program")
async def test_each_listed_page_is_measured(tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("LEASEQ_")}
    options = ("pages", "--quick", "--shown", "20000", "--results", str(tmp_path / "results"))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "bench", *options),
        cwd=ROOT,
        env=env | {"TMPDIR": str(tmp_path)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(SECONDS):
            _, said = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    assert process.returncode == 0, said.decode()
    (kept,) = await asyncio.to_thread(lambda: [*(tmp_path / "results").glob("*.json")])
    report = msgspec.json.decode(kept.read_bytes(), type=Report)
    found = {figure.name: figure.median for figure in report.figures["pages"]}
    listed = [line for line in PATHS.read_text(encoding="utf-8").splitlines() if line[:1] == "/"]
    assert len(listed) > 20
    for path in listed:
        assert found[f"{path} warm p50"] > 0
        assert found[f"{path} blocks"] <= MOST_BLOCKS
