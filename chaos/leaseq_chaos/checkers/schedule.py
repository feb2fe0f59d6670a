"""Check that no task starts before it is due (I19).

By the clock of Postgres: no claim in the commits is earlier than the `run_at` of its row, which
every retry moves, nor, in the snapshot, the last start of a task that ended in SUCCESS or FAILED.
By the clock of the history, for delays that were asked for: the first claim is not earlier than the
delay after the first submission of that key was sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from leaseq_chaos.checkers.answer import answer, milliseconds
from leaseq_chaos.checkers.index import EARLY, Index, Op, Step, index, no_commits
from leaseq_chaos.evidence import Evidence
from leaseq_chaos.verdict import Finding, Violation

__all__ = ["check"]

INVARIANT = "No attempt starts before its task is due."

_ROUNDING_SECONDS = 0.001  # of a time since the epoch in a float
_RAN_LAST = {"SUCCESS", "FAILED"}  # only a settlement leads there, and it leaves `run_at` as it is


def check(evidence: Evidence) -> Finding:
    """Compare starts with due times."""
    found = index(evidence)
    delayed = _delayed(found)
    claims = _times(found)
    timed = [
        row
        for row in found.rows.values()
        if row.get("started_at") is not None and row["state"] in _RAN_LAST
    ]
    return answer(
        "schedule",
        INVARIANT,
        missing=no_commits(found),
        said=f"{len(claims):,} claims, {len(timed):,} last starts and {len(delayed):,} delays that were asked for were looked at",
        violations=[*_by_commits(claims), *_by_postgres(found), *_by_history(found, delayed)],
        facts={"claims": len(claims), "starts": len(timed), "delayed": len(delayed)},
    )


def _times(found: Index) -> list[tuple[str, Step, datetime, datetime]]:
    """When each claim was due and when it started, where its row tells."""
    times = []
    for (task, _), claim in found.claims.items():
        row = found.evidence.commits[claim.order].row
        due, started = row.get("run_at"), row.get("started_at")
        if isinstance(due, str) and isinstance(started, str):
            times.append(
                (task, claim, datetime.fromisoformat(due), datetime.fromisoformat(started))
            )
    return times


def _by_commits(claims: Sequence[tuple[str, Step, datetime, datetime]]) -> Iterator[Violation]:
    for task, claim, due, started in claims:
        if started < due:
            early = (due - started).total_seconds() * 1000
            yield Violation(
                f"attempt {claim.attempt} was claimed {early:,.0f} ms before it was due",
                task,
                claim.at,
            )


def _by_postgres(found: Index) -> Iterator[Violation]:
    for task, row in found.rows.items():
        if (
            row["state"] in _RAN_LAST
            and row.get("started_at") is not None
            and row.get("run_at") is not None
        ):
            early = row["run_at"] - row["started_at"]
            if early > _ROUNDING_SECONDS:
                yield Violation(
                    f"attempt {row['attempt']} started {early * 1000:,.0f} ms before it was due",
                    task,
                )


def _delayed(found: Index) -> dict[str, tuple[int, float]]:
    """For each task with a delay: when it was first sent, and the delay in seconds."""
    sent: dict[tuple[str, object], Op] = {}
    for op in found.ops["submit"]:
        if op.key is not None:
            first = sent.setdefault((op.key, op.said.get("variant")), op)
            if op.began < first.began:
                sent[op.key, op.said.get("variant")] = op
    delays: dict[str, tuple[int, float]] = {}
    redriven = found.redriven()  # these are due immediately
    for op in found.accepted():
        first = sent.get((op.key or "", op.said.get("variant")), op)
        if op.task is not None and op.task not in redriven and first.said.get("delay_seconds"):
            delays.setdefault(op.task, (first.began, float(first.said["delay_seconds"])))
    return delays


def _by_history(found: Index, delayed: dict[str, tuple[int, float]]) -> Iterator[Violation]:
    for task, (sent, delay) in delayed.items():
        claim = found.claims.get((task, 1))
        due = sent + int(delay * 1e9)
        if claim is not None and claim.at < due - EARLY:
            yield Violation(
                f"claimed {milliseconds(due - claim.at)} before its delay of {delay} s was over",
                task,
                claim.at,
            )
