"""The benchmark runs on its subjects, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import msgspec
import pytest
from bench.auth import MODES
from bench.paper import Report

ROOT = Path(__file__).parents[2]
SECONDS = 400


@pytest.mark.slow("two whole measurements, as a program")
async def test_a_drain_and_the_cost_of_keys_are_measured(tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("LEASEQ_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *(
            "-m",
            "bench",
            "--quick",
            "drain-1",
            "auth",
            "--tasks",
            "6000",
            "--results",
            tmp_path / "results",
        ),
        cwd=ROOT,
        env=env | {"TMPDIR": str(tmp_path)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(SECONDS):
            out, said = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    assert process.returncode == 0, said.decode()
    (kept,) = matching(tmp_path, "results/*.json")
    report = msgspec.json.decode(kept.read_bytes(), type=Report)
    rate = report.figures["drain-1"][0]
    assert (rate.unit, len(rate.values)) == ("tasks/s", 1)
    assert rate.median > 0
    assert {figure.name.partition(":")[0] for figure in report.figures["auth"]} == {
        f"HTTP {kind}{suffix}"
        for kind in ("submissions", "replays", "submissions and replays")
        for suffix in MODES
    }
    assert f"| {rate.name} | tasks/s |" in out.decode()
    assert kept.with_suffix(".html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert matching(tmp_path, "*") == [tmp_path / "results"]


def matching(directory: Path, pattern: str) -> list[Path]:
    return list(directory.glob(pattern))
