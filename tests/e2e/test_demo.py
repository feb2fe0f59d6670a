"""The demo notices broken guarantees, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from examples.demo.kills import Recovery
from examples.demo.ledger import FoundTask
from examples.demo.submit import Answer
from examples.demo.verdict import Evidence, Finding, at, judge, measure
from examples.demo.workload import Errand, Workload
from support.source_tree import ROOT

PLAY_SECONDS = 300
Demo = asyncio.subprocess.Process
Start = Callable[..., Awaitable[Demo]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Start the demo with its temporary files below `tmp_path`; it ends in order in any case."""
    started: list[Demo] = []

    async def begin(*arguments: str) -> Demo:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "examples.demo",
            *arguments,
            cwd=ROOT,
            env=os.environ | {"TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.returncode is None:
            process.terminate()
            await process.communicate()


def pids_said(text: str) -> list[int]:
    """Every pid of a service, and of a killed process."""
    killed = [
        pid
        for pids in re.findall(r"^kill -9 ([\d ]+):", text, re.MULTILINE)
        for pid in pids.split()
    ]
    return [int(pid) for pid in [*re.findall(r"\(pid (\d+)\)", text), *killed]]


def lives(pid: int) -> bool:
    """Whether this process runs, and is not a zombie."""
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
            not in "ZX"
        )
    except FileNotFoundError:
        return False


def below(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


@pytest.mark.slow("plays the whole demo")
@pytest.mark.timeout(PLAY_SECONDS + 20)
async def test_demo_keeps_every_promise_through_two_kills(start: Start, tmp_path: Path) -> None:
    demo = await start("--tasks", "1000")
    said, _ = await asyncio.wait_for(demo.communicate(), PLAY_SECONDS)
    text = said.decode()
    assert demo.returncode == 0, text
    assert "BROKEN" not in text
    assert text.count("kill -9") == 2
    assert "1,000 accepted, 0 lost" in text
    assert "100 sent twice, 100 replayed, 0 run under two ids" in text
    assert "Every promise was kept" in text
    assert len(pids_said(text)) == 4 + 1 + 2
    assert [pid for pid in pids_said(text) if lives(pid)] == []
    assert below(tmp_path) == []


@pytest.mark.slow("starts the whole demo, twice")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_interrupted_demo_leaves_nothing_behind(
    start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    demo = await start()
    assert demo.stdout is not None
    text = ""
    while " running\n" not in text:
        line = await demo.stdout.readline()
        assert line, text
        text += line.decode()
    demo.send_signal(number)
    text += (await demo.stdout.read()).decode()
    assert await demo.wait() == 130
    assert text.endswith("Interrupted; everything has been taken down.\n")
    assert len(pids_said(text)) >= 4
    assert [pid for pid in pids_said(text) if lives(pid)] == []
    assert below(tmp_path) == []


def evidence(**other: Any) -> Evidence:
    """The findings when all went well: one task of each type, the charge submitted twice; or
    something `other`."""
    errands = [
        Errand("charge", {"order_id": 1, "customer": "ada", "cents": 500}, "charge-1", twice=True),
        Errand("send_receipt", {"order_id": 1, "to": "ada", "cents": 500}, "receipt-1"),
        Errand("monthly_report", {"month": "2026-09"}, "report-2026-09"),
    ]
    good = Evidence(
        workload=Workload(errands, {"2026-09": (10, 990)}),
        answers=[
            Answer("charge-1", "a", False, 0.01),
            Answer("charge-1", "a", True, 0.01),
            Answer("receipt-1", "b", False, 0.01),
            Answer("report-2026-09", "c", False, 0.01),
        ],
        tasks=[
            FoundTask("a", "charge", "SUCCESS", errands[0].payload, {}, 0.5),
            FoundTask("b", "send_receipt", "SUCCESS", errands[1].payload, "<b>", 0.5),
            FoundTask("c", "monthly_report", "SUCCESS", errands[2].payload, {}, 0.5),
        ],
        attempts={"lost": 2},
        charges={1: 1},
        money=(500, 500),
        mails=Counter({"<b>": 1}),
        reports={"2026-09": (10, 990)},
        child=Recovery(1, 0.3, 9.9),
        worker=Recovery(1, 3.5, 9.9),
        lease_seconds=3.0,
    )
    return replace(good, **other)


def broken(seen: Evidence) -> list[Finding]:
    return [finding for finding in judge(seen) if not finding.held]


def test_the_verdict_on_a_good_run() -> None:
    assert broken(evidence()) == []
    assert broken(evidence(mails=Counter({"<b>": 2}))) == [], (
        "a mail may come twice: that is the promise"
    )


GOOD = evidence()
STILL_RUNNING = replace(GOOD.tasks[0], state="PROCESSING", seconds=None)
UNDER_TWO_IDS = replace(GOOD.answers[1], task_id="d", replayed=False)


@pytest.mark.parametrize(
    ("seen", "promises"),
    [
        (
            {"tasks": GOOD.tasks[1:]},
            ["No accepted task is lost", "A kill fails no task", "One key, one task"],
        ),
        (
            {"tasks": [STILL_RUNNING, *GOOD.tasks[1:]]},
            ["No accepted task is lost", "A kill fails no task"],
        ),
        (
            {"tasks": [replace(GOOD.tasks[0], state="FAILED"), *GOOD.tasks[1:]]},
            ["A kill fails no task"],
        ),
        (
            {"answers": [GOOD.answers[0], UNDER_TWO_IDS, *GOOD.answers[2:]]},
            ["No accepted task is lost", "One key, one task"],
        ),
        ({"answers": [GOOD.answers[0], GOOD.answers[0], *GOOD.answers[2:]]}, ["One key, one task"]),
        ({"charges": {1: 2}}, ["Rows in Postgres: exactly once"]),
        ({"charges": {}}, ["Rows in Postgres: exactly once"]),
        ({"money": (500, 0)}, ["... and whole"]),
        ({"mails": Counter()}, ["Mail: at least once, one Message-ID each"]),
        ({"mails": Counter({"<b>": 1, "<x>": 1})}, ["Mail: at least once, one Message-ID each"]),
        ({"reports": {}}, ["Files: whole or not there"]),
        ({"reports": {"2026-09": (9, 990)}}, ["Files: whole or not there"]),
        ({"child": Recovery(1, 1.2, 9.9)}, ["A killed process: back in under 1 s"]),
        ({"child": Recovery(0, 0.0, 9.9)}, ["A killed process: back in under 1 s"]),
        ({"worker": Recovery(1, 5.1, 9.9)}, ["A lost worker: back within lease + 2 s = 5 s"]),
        ({"worker": Recovery(0, 0.0, 9.9)}, ["A lost worker: back within lease + 2 s = 5 s"]),
    ],
)
def test_demo_verdict_names_each_broken_promise(seen: dict[str, Any], promises: list[str]) -> None:
    assert [finding.promise for finding in broken(evidence(**seen))] == promises


def test_demo_percentiles() -> None:
    values = [float(number) for number in range(1, 201)]
    assert (at(values, 50), at(values, 99), at([7.0], 99)) == (100.0, 198.0, 7.0)
    assert any("2 lost" in each.value for each in measure(evidence()))
