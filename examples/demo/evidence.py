"""The evidence after the demo: ledger, mailbox and files."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from examples.demo.kills import Recovery
from examples.demo.ledger import Ledger
from examples.demo.stage import LEASE_SECONDS, Stage
from examples.demo.submit import Answer
from examples.demo.verdict import Evidence
from examples.demo.workload import Workload


async def gather_evidence(
    stage: Stage,
    ledger: Ledger,
    workload: Workload,
    answers: Sequence[Answer],
    recoveries: tuple[Recovery, Recovery],
) -> Evidence:
    """Read everything back."""
    child, worker = recoveries
    return Evidence(
        workload=workload,
        answers=answers,
        tasks=await ledger.tasks(),
        attempts=await ledger.attempts(),
        charges=await ledger.charges(),
        money=await ledger.money(),
        mails=stage.mailbox.received,
        reports={
            month: totals
            for month in workload.months
            if (totals := read_report(stage.reports, month))
        },
        child=child,
        worker=worker,
        lease_seconds=LEASE_SECONDS,
    )


def read_report(directory: Path, month: str) -> tuple[int, int] | None:
    """The sums of a month's report, orders and cents; None if there is none."""
    file = directory / f"report-{month}.csv"
    if not file.exists():
        return None
    with file.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    return sum(int(row["orders"]) for row in rows), sum(int(row["cents"]) for row in rows)
