"""Check that only silent workers are closed, and only they lose tasks (I10).

A worker that is closed for its silence was silent: the ledger had not received two beats from it
within the lease before. (Two, because the first one may have been delayed for long while Postgres
was frozen; the second was sent after its answer.) An attempt is declared lost only after its worker
was closed: the owner of a task changes by a release, by the end, or by a death. A failover may lose
a closing. The process that closed the worker settles its attempts on the new primary anyway, where
the worker is open; the reaper closes it again if it is silent. The fences of these attempts hold in
both cases.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from msgspec import Struct

from leaseq_chaos.checkers.answer import answer, milliseconds
from leaseq_chaos.checkers.index import Index, index, no_commits, task_of
from leaseq_chaos.evidence import Evidence
from leaseq_chaos.verdict import Finding, Violation

__all__ = ["check"]

INVARIANT = "No worker is closed for silence that beat within a lease, and no attempt is lost under an open worker."

_SILENT = "silent"  # how the reason of a closing begins that rests on silence


class Closing(Struct, frozen=True):
    """The end of a worker in the ledger."""

    order: int
    at: int
    silent: bool  # was silence the reason?


def check(evidence: Evidence) -> Finding:
    """Look at what came before each closing, and before each loss."""
    found = index(evidence)
    beats, closings = _lives(found)
    lost = [
        placed
        for placed in found.tables.get("attempts", [])
        if placed.commit.row.get("outcome") == "lost"
    ]
    forgotten = {
        str(commit.row["id"])
        for commit in evidence.lost
        if commit.table == "workers" and commit.row.get("closed_at")
    }
    violations = list(
        _false(beats, closings, lease=float(evidence.run.config.get("LEASEQ_LEASE_SECONDS", "10")))
    )
    for placed in lost:
        commit, worker = placed.commit, str(placed.commit.row["worker_id"])
        if worker in forgotten:
            continue
        if worker not in closings or closings[worker].order > placed.order:
            said = f"attempt {commit.row['attempt']} was declared lost while its worker {worker} was open"
            violations.append(Violation(said, task_of(commit.row), commit.at))
    return answer(
        "reaps",
        INVARIANT,
        missing=no_commits(found),
        said=f"{len(closings):,} closings of {len(beats):,} workers and {len(lost):,} lost attempts were looked at",
        violations=violations,
        facts={
            "closed": len(closings),
            "closed for silence": sum(1 for closing in closings.values() if closing.silent),
            "lost attempts": len(lost),
        },
    )


def _lives(found: Index) -> tuple[dict[str, list[int]], dict[str, Closing]]:
    """When the ledger took a sign of life from each worker, and how each was closed."""
    beats: dict[str, list[int]] = defaultdict(list)
    closings: dict[str, Closing] = {}
    for placed in found.tables.get("workers", []):
        row, at = placed.commit.row, placed.commit.at
        worker = str(row["id"])
        if row.get("closed_at") is None:
            beats[worker].append(at)
        elif worker not in closings:
            closings[worker] = Closing(
                placed.order, at, str(row.get("close_reason") or "").startswith(_SILENT)
            )
    # workers of older versions beat in the table above
    for placed in found.tables.get("heartbeats", []):
        if placed.commit.verb != "delete":
            beats[str(placed.commit.row["worker_id"])].append(placed.commit.at)
    return {worker: sorted(signs) for worker, signs in beats.items()}, closings


def _false(
    beats: dict[str, list[int]], closings: dict[str, Closing], *, lease: float
) -> Iterator[Violation]:
    for worker, closing in closings.items():
        heard = [at for at in beats.get(worker, []) if closing.at - lease * 1e9 < at <= closing.at]
        if closing.silent and len(heard) > 1:
            last = milliseconds(closing.at - heard[-1])
            yield Violation(
                f"{worker} was closed for silence, after {len(heard)} beats within the lease, last {last} before",
                at=closing.at,
            )
