"""`leaseq diary`: what happened to the cluster."""

from __future__ import annotations

import json
from typing import Any

from leaseq.observability.telemetry import emit
from leaseq.operations.engine import Engine
from support.cli import Command, Stage

WORKER = "w" * 32


def happened(stage: Stage) -> None:
    """A few events of one process."""

    async def work(engine: Engine) -> None:
        async with engine.announced("reaper"):
            emit("epoch.changed", before="a", found="b", now="c")
            emit("queue.paused", queue="mail")
            emit(
                "worker.reaped",
                worker_id=WORKER,
                reason="lapsed",
                tasks=3,
                sessions_ended=0,
                first=True,
            )

    stage.do(work)


def listed(leaseq: Command, *args: str) -> Any:
    return json.loads(leaseq("diary", "--json", *args).stdout)


def test_events_are_listed_with_what_they_mean(leaseq: Command, stage: Stage) -> None:
    assert leaseq("diary").stdout == ""
    happened(stage)
    result = leaseq("diary")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0].split()[:3] == ["AT", "LEVEL", "EVENT"]
    assert f"worker.reaped  -      -     {WORKER}" in lines[1]
    assert "reason=lapsed tasks=3" in lines[1]
    assert lines[-1].startswith("epoch.changed Redis lost its data")
    assert len(leaseq("diary", "--name", "queue.paused").stdout.splitlines()) == 4


def test_filters_and_pages(leaseq: Command, stage: Stage) -> None:
    happened(stage)
    (paused,) = listed(leaseq, "--queue", "mail")["notices"]
    assert (paused["name"], paused["meaning"]) == ("queue.paused", "a queue was paused")
    (reaped,) = listed(leaseq, "--worker", WORKER)["notices"]
    assert reaped["fields"]["tasks"] == 3
    page = listed(leaseq, "--limit", "2")
    rest = listed(leaseq, "--cursor", page["next_cursor"])
    assert [each["name"] for each in rest["notices"]] == ["epoch.changed"]
    assert rest["next_cursor"] is None
    assert listed(leaseq, "--until", "2020-01-01T00:00+02:00")["notices"] == []
    assert len(listed(leaseq, "--since", "2020-01-01 03:12")["notices"]) == 3
    for wrong in (["--since", "yesterday"], ["--name", "none"], ["--cursor", "x"]):
        assert leaseq("diary", *wrong).exit_code == 2
