"""Check that no money appears or vanishes (I16).

Transfers move cents between accounts, so the sum over all is the same at every boundary between two
transactions, and at the end. An account counts as soon as the commits have shown its balance. A
boundary is judged once all accounts count.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from msgspec import Struct

from leaseq_chaos.checkers.answer import answer
from leaseq_chaos.checkers.index import Index, index, no_commits, task_of
from leaseq_chaos.evidence import Evidence
from leaseq_chaos.verdict import Finding, Violation

__all__ = ["check"]

INVARIANT = "The sum of all accounts is the same after every transaction."


class _Boundary(Struct, frozen=True):
    """Between two transactions, with all balances known."""

    lsn: int
    at: int
    sum: int


def check(evidence: Evidence) -> Finding:
    """Add up the accounts after each transaction, and once more in the snapshot."""
    found = index(evidence)
    run = evidence.run
    boundaries = list(_boundaries(found))
    return answer(
        "accounts",
        INVARIANT,
        missing=no_commits(found),
        said=f"{len(boundaries):,} boundaries of transactions were added up over {run.accounts} accounts"
        if run.accounts
        else "this run had no accounts",
        violations=[*_changes(found, boundaries), *_end(evidence)],
        facts={"accounts": run.accounts, "boundaries": len(boundaries), "cents": run.cents},
    )


def _boundaries(found: Index) -> Iterator[_Boundary]:
    balances: dict[object, int] = {}
    placed = found.tables.get("accounts", [])
    for lsn, rows in groupby(placed, key=lambda one: one.commit.lsn):
        for row in rows:
            at = row.commit.at
            if row.commit.verb == "delete":
                balances.pop(row.commit.row.get("id"), None)
            else:
                balances[row.commit.row["id"]] = int(row.commit.row["cents"])
        if len(balances) >= found.evidence.run.accounts:
            yield _Boundary(lsn, at, sum(balances.values()))


def _changes(found: Index, boundaries: list[_Boundary]) -> Iterator[Violation]:
    """Each boundary at which the sum is another than before, with the task whose effect is in that
    transaction."""
    tasks = {
        placed.commit.lsn: task_of(placed.commit.row) for placed in found.tables.get("effects", [])
    }
    due = found.evidence.run.cents
    for boundary in boundaries:
        if boundary.sum != due:
            gone = (
                f"{due - boundary.sum:,} cents vanished"
                if boundary.sum < due
                else f"{boundary.sum - due:,} cents appeared"
            )
            yield Violation(
                f"{gone} in one transaction: the sum is {boundary.sum:,}",
                tasks.get(boundary.lsn),
                boundary.at,
            )
            due = boundary.sum


def _end(evidence: Evidence) -> Iterator[Violation]:
    cents, due = evidence.snapshot.cents, evidence.run.cents
    if cents != due:
        yield Violation(
            f"at the end the accounts hold {cents:,} cents, and {due:,} were put there",
            at=evidence.snapshot.at,
        )
