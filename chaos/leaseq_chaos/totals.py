"""Add up the results of several runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec import Struct

from leaseq_chaos.evidence import Snapshot
from leaseq_chaos.history import Kind, read_history
from leaseq_chaos.verdict import Finding, Verdict, merged

__all__ = ["Totals", "totals_of"]


class Totals(Struct, frozen=True, kw_only=True):
    """Figures over all runs."""

    runs: int
    minutes: float  # from the first operation to the snapshot, of each run
    tasks: int
    faults: Counter[str]  # injected, by nemesis
    violations: int
    verdict: Verdict

    def __str__(self) -> str:
        return (
            f"{self.verdict}: {self.runs} runs, {self.minutes:.0f} minutes, {self.tasks:,} tasks, "
            f"{self.faults.total():,} faults of {len(self.faults)} kinds, {self.violations:,} violations"
        )


def totals_of(directories: Iterable[Path]) -> Totals:
    """Add up what the runs left behind."""
    tasks, nanoseconds, runs, faults = 0, 0, 0, Counter[str]()
    findings: list[Finding] = []
    for directory in directories:
        runs += 1
        snapshot = msgspec.json.decode((directory / "snapshot.json").read_bytes(), type=Snapshot)
        tasks += len(snapshot.tasks)
        events = read_history(directory / "history")
        nanoseconds += snapshot.at - events[0].at
        faults.update(
            event.value["nemesis"]
            for event in events
            if event.op == "fault" and event.kind is Kind.OK
        )
        findings += msgspec.json.decode(
            (directory / "verdict.json").read_bytes(), type=list[Finding]
        )
    return Totals(
        runs=runs,
        minutes=nanoseconds / 60e9,
        tasks=tasks,
        faults=faults,
        violations=sum(len(finding.violations) for finding in findings),
        verdict=merged(finding.verdict for finding in findings),
    )
