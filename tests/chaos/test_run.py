"""A run leaves its evidence and a verdict."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec
import psutil
import pytest
from click.testing import CliRunner

from leaseq_chaos.cli import main
from leaseq_chaos.evidence import Evidence, load
from leaseq_chaos.history import Kind
from leaseq_chaos.totals import totals_of
from leaseq_chaos.verdict import Finding, Verdict

RUN_SECONDS = 900.0  # of which 40 are needed on an idle machine


async def end_process(process: asyncio.subprocess.Process) -> None:
    """Let a run that takes too long take everything down."""
    if process.returncode is None:
        process.terminate()
        await process.wait()


@pytest.mark.slow("one whole chaos run, as a program")
@pytest.mark.timeout(RUN_SECONDS + 20)
async def test_a_run_leaves_evidence_a_verdict_and_nothing_else(tmp_path: Path) -> None:
    ours = psutil.Process()
    before = {child.pid for child in ours.children(recursive=True)}
    command = [
        "-m",
        "leaseq_chaos",
        "run",
        "network",
        "--minutes",
        "0.1",
        "--seed",
        "17",
        "--workers",
        "1",
        "--out",
        str(tmp_path),
    ]
    running = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=asyncio.subprocess.PIPE
    )
    try:
        told, _ = await asyncio.wait_for(running.communicate(), RUN_SECONDS)
    finally:
        await end_process(running)
    directory = tmp_path / "network-17"
    findings = msgspec.json.decode((directory / "verdict.json").read_bytes(), type=list[Finding])
    wrong = [finding for finding in findings if finding.verdict is Verdict.INVALID]
    assert wrong == [], told.decode()
    assert running.returncode in (0, 3), told.decode()
    assert (directory / "report.html").stat().st_size > 10_000
    _has_healed_everything(load(directory))
    assert not [
        child
        for child in ours.children(recursive=True)
        if child.pid not in before and child.is_running()
    ]

    assert str(totals_of([directory])) in told.decode()
    twice = totals_of([directory, directory])
    assert twice.tasks == 2 * len(load(directory).snapshot.tasks) > 0
    assert twice.faults.total() > 4

    again = CliRunner().invoke(main, ["judge", str(directory)])
    assert again.exit_code == running.returncode, again.output
    assert (
        msgspec.json.decode((directory / "verdict.json").read_bytes(), type=list[Finding])
        == findings
    )


def _has_healed_everything(evidence: Evidence) -> None:
    nemesis = [event for event in evidence.events if event.process == "nemesis"]
    injected = {event.key for event in nemesis if event.op == "fault" and event.kind is Kind.OK}
    assert len(injected) > 2
    assert injected == {
        event.key for event in nemesis if event.op == "heal" and event.kind is Kind.OK
    }
    phases = [event.value["phase"] for event in evidence.events if event.op == "phase"]
    assert phases[0] == "warm-up"
    assert phases[-4:] == ["drain", "snapshot", "erase", "end"]
    assert evidence.snapshot.drained


def test_unknown_scenario_is_refused() -> None:
    refused = CliRunner().invoke(main, ["run", "earthquake"])
    assert refused.exit_code == 2
    assert "earthquake" in refused.output


def test_the_list_names_every_scenario() -> None:
    listed = CliRunner().invoke(main, ["list"])
    assert listed.exit_code == 0
    assert "everything" in listed.output
    assert "kill-child" in listed.output
