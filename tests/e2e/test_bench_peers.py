"""leaseq in the comparison with other queues, with kills."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from bench.peers.contenders import CONTENDERS
from bench.peers.crash import crash
from bench.peers.crew import Crew
from bench.peers.environments import Environment
from bench.peers.measures import MEASURES
from bench.peers.ratios import RATIOS
from bench.peers.scope import Scope

# A child in another process group, as RQ's are.
FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], process_group=0)
print(child.pid, flush=True)
if sys.argv[1:] == ["leave"]:
    os._exit(0)
time.sleep(60)
"""


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The environment of leaseq is the one that runs the tests."""
    monkeypatch.setattr(
        Environment, "program", lambda _environment, name: str(Path(sys.executable).with_name(name))
    )
    monkeypatch.setenv("TMPDIR", str(tmp_path))


@pytest.mark.slow("one whole measurement beside the other task queues")
@pytest.mark.usefixtures("ours")
async def test_leaseq_drains_survives_kills_and_keeps_up() -> None:
    (leaseq,) = [contender for contender in CONTENDERS if contender.name == "leaseq"]
    scope = Scope(
        share=0.001,
        flood_seconds=2.0,
        crash_tasks=12,
        kills=1,
        kill_every_seconds=0.7,
        watch_seconds=0.1,
    )
    async with asyncio.TaskGroup() as group:
        killed = group.create_task(crash(leaseq, scope, reliable=True))
        figures = await asyncio.gather(*(play(leaseq, scope) for play in MEASURES.values()))
    recovery = killed.result()
    found = {reading.name: reading.value for readings in figures for reading in readings}
    assert {ratio.figure for ratio in RATIOS} <= {*found}
    assert found["drain, 1 worker: CPU of all"] >= found["drain, 1 worker: CPU of workers"]
    assert found["drain, 1 worker"] > 0
    assert found["drain, 1 worker: done twice"] == 0
    assert 0 < found["end to end: done"] <= found["end to end: submitted"]
    assert found["end to end, 8 submitters: done"] > 0
    assert (recovery.lost, recovery.never_rerun) == (0, 0)


@pytest.mark.parametrize(
    "arguments", [[], ["leave"]], ids=["with its child", "gone before its child"]
)
async def test_a_worker_dies_with_all_that_belongs_to_it(
    tmp_path: Path, arguments: list[str]
) -> None:
    crew = Crew(tmp_path, {})
    crew.start(0, [sys.executable, "-c", FAMILY, *arguments])
    await _until(lambda: crew.last_words().isdigit() and not (arguments and crew.alive(0)))
    child = psutil.Process(int(crew.last_words()))
    assert child.pid in crew.kill(0).pids
    await _until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    assert not crew.any_alive


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while True:
            if condition():
                return
            await asyncio.sleep(0.02)
