"""Check that an acknowledged commit is on the synchronous standby (I23, G1).

While a synchronous standby does not answer, nothing that was committed beyond its last word may be
acknowledged, neither at first nor in answer to a repetition: the row is visible on the primary, and
would be gone with it. The position of that word and the time of its silence are in the detail of
the fault.
"""

from __future__ import annotations

from collections.abc import Iterator

from leaseq_chaos.checkers.answer import answer, milliseconds
from leaseq_chaos.checkers.faults import Fault, faults_of
from leaseq_chaos.checkers.index import Index, Op, index, no_commits, task_of
from leaseq_chaos.evidence import Evidence
from leaseq_chaos.history import Kind
from leaseq_chaos.verdict import Finding, Violation

__all__ = ["check"]

INVARIANT = "An acknowledged commit is on as many servers as Postgres is configured to wait for."
NEMESES = frozenset({"lose-standby-postgres", "lose-standby-postgres-long"})


def check(evidence: Evidence) -> Finding:
    """Look at the acknowledgements in the silence of each standby."""
    found = index(evidence)
    silences = [fault for fault in faults_of(evidence) if fault.nemesis in NEMESES and fault.told]
    created = {
        task: steps[0].lsn
        for task, steps in found.lives.items()
        if steps and steps[0].verb == "insert"
    }
    asked = _requests(found)
    heard = [(fault, op) for fault in silences for op in _answers(found, fault)]
    return answer(
        "standbys",
        INVARIANT,
        missing=no_commits(found),
        said=f"{len(heard):,} acknowledgements came while a standby was silent, in {len(silences)} silences"
        if silences
        else "no standby was silent",
        violations=[
            violation
            for what, positions in (("submit", created), ("cancel", asked))
            for violation in _unkept(what, positions, heard, found)
        ],
        facts={"silences": len(silences), "acknowledged meanwhile": len(heard)},
    )


def _answers(found: Index, fault: Fault) -> Iterator[Op]:
    for op in (*found.ops["submit"], *found.ops["cancel"]):
        if (
            op.kind is Kind.OK
            and op.ended is not None
            and fault.struck <= op.ended <= fault.healing
        ):
            yield op


def _requests(found: Index) -> dict[str, int]:
    """The position of the first request to cancel each task."""
    positions: dict[str, int] = {}
    for commit in found.evidence.commits:
        if commit.table == "tasks" and commit.row.get("cancel_requested_at") is not None:
            positions.setdefault(task_of(commit.row), commit.lsn)
    return positions


def _unkept(
    what: str, positions: dict[str, int], heard: list[tuple[Fault, Op]], found: Index
) -> Iterator[Violation]:
    asked = {id(op) for op in found.ops[what]}
    for fault, op in heard:
        position = positions.get(op.task or "")
        if (
            id(op) in asked
            and position is not None
            and position > int(fault.detail.get("flushed", position))
        ):
            later = milliseconds((op.ended or 0) - fault.struck)
            said = f"a {what} was acknowledged {later} after the standby ({fault.number}) had gone, and only the primary had it"
            yield Violation(said, op.task, op.ended)
