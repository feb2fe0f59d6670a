"""Spans of real worker processes, which export them before they exit."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec

from leaseq.model import Lane
from support.client import Client
from support.ledger import RETENTION, submission
from support.processes import Service, Services

Found = dict[str, Any]
ROOT = Path(__file__).parents[2]
OTEL = ROOT / "tests" / "apps" / "otel"


async def traced(services: Services, file: Path) -> Service:
    """A worker for examples/traces.py, whose provider exports nothing on its own for an hour."""
    services.directory = ROOT
    worker = await services.start(
        "worker",
        "examples.traces:app",
        "--processes",
        "1",
        TRACES_FILE=str(file),
        OTEL_BSP_SCHEDULE_DELAY="3600000",
    )
    await worker.hear("worker.opened")
    return worker


def spans_in(file: Path) -> list[Found]:
    """The spans that were exported, in the order in which they ended."""
    return [msgspec.json.decode(line) for line in file.read_text().splitlines()]


def named(spans: list[Found], name: str, kind: str | None = None) -> list[Found]:
    return [
        span
        for span in spans
        if span["name"] == name and kind in (None, span["attributes"].get("leaseq.type"))
    ]


def addresses(links: list[Found]) -> list[str]:
    return [link["context"]["span_id"] for link in links]


async def test_the_example_leaves_the_spans_of_its_workers(
    services: Services, client: Client, tmp_path: Path
) -> None:
    """No span is exported before a worker exits: what the file has was flushed by then."""
    file = tmp_path / "spans.jsonl"
    worker = await traced(services, file)
    await services.reaper()
    pack = await client.submit("pack", order_id=1)
    await client.ended(pack)
    await worker.hear("attempt.settled", type="deliver")
    worker.signal(signal.SIGTERM)
    assert await worker.ended() == 0
    spans = spans_in(file)
    first, second = named(spans, "run default", "pack")
    submit = named(spans, "submit default", "deliver")[0]
    (delivery,) = named(spans, "run default", "deliver")
    fetches, (drive,) = named(spans, "fetch goods"), named(spans, "drive")
    assert [first["attributes"]["leaseq.state"], second["attributes"]["leaseq.state"]] == [
        "SCHEDULED",
        "SUCCESS",
    ]
    assert addresses(second["links"]) == [first["context"]["span_id"]]
    assert [span["parent_id"] for span in fetches] == [
        span["context"]["span_id"] for span in (first, second)
    ]
    assert submit["parent_id"] == second["context"]["span_id"]
    assert addresses(delivery["links"]) == [submit["context"]["span_id"]]
    assert drive["parent_id"] == delivery["context"]["span_id"]


async def test_a_suspect_has_a_span_in_its_isolation_child(
    services: Services, client: Client, tmp_path: Path
) -> None:
    """The thread in which the spans are exported is no leftover of its handler."""
    suspect = submission(type="deliver", payload=b'{"order_id":1}')
    await client.engine.stores.tasks.submit([suspect], retention_seconds=RETENTION)
    await client.rows("update leaseq.tasks set loss_count = 2")
    await client.engine.stores.dispatcher.push("default", [suspect.task_id], lane=Lane.SUSPECT)
    file = tmp_path / "spans.jsonl"
    worker = await traced(services, file)
    await worker.hear("child.started", isolated=True)
    await worker.hear("attempt.settled", task_id=suspect.task_id)
    worker.signal(signal.SIGTERM)
    assert await worker.ended() == 0
    assert not worker.heard("handler.remained")
    (run,), (drive,) = named(spans_in(file), "run default"), named(spans_in(file), "drive")
    assert run["attributes"]["messaging.message.id"] == suspect.task_id
    assert drive["parent_id"] == run["context"]["span_id"]


async def test_a_killed_attempt_leaves_a_span_of_its_supervisor(
    services: Services, client: Client, tmp_path: Path
) -> None:
    """The process that ran it is gone, with its spans. Its supervisor runs no user code: the
    provider is set as `opentelemetry-instrument` sets it."""
    file = tmp_path / "spans.jsonl"
    services.executing = True
    worker = await services.worker(
        PYTHONPATH=os.pathsep.join([str(OTEL), *sys.path]), TRACES_FILE=str(file)
    )
    task_id = await client.submit("die_once")
    await client.ended(task_id)
    await worker.hear("attempt.settled", task_id=task_id)
    worker.signal(signal.SIGTERM)
    assert await worker.ended() == 0
    spans = spans_in(file)
    lost, succeeded = named(spans, "run default")
    (reap,) = named(spans, "reap")
    about, opened = lost["attributes"], worker.heard("worker.opened")
    assert about["messaging.message.id"] == task_id
    assert about["messaging.client.id"] == opened[0]["worker_id"]
    assert (about["leaseq.attempt"], about["leaseq.outcome"]) == (1, "lost")
    assert "SIGKILL" in lost["status"]["description"]
    assert addresses(reap["links"]) == [lost["context"]["span_id"]]
    assert addresses(succeeded["links"]) == [lost["context"]["span_id"]]
