"""Judge the outcome of a cell.

A pure function of both stores and the history after the cell has drained. Green means that the
point was reached, and that no invariant is violated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from msgspec import Struct, field

from leaseq.model import State
from leaseq_chaos.sweep.grid import Cell, Effects
from leaseq_chaos.verdict import Verdict

__all__ = ["COUNTED", "Found", "Outcome", "Row", "complaints"]

# Counted events of services, by heading. Some of them show that a cell really tests something.
COUNTED = {
    "attempt.fenced": "fenced",
    "worker.fenced": "fenced",
    "delivery.skipped": "skipped",
    "attempt.reaped": "reaped",
    "attempt.ambiguous": "ambiguous",
    "task.redispatched": "rebuilt",
    "delivery.stray": "strays",
    "delivery.restored": "restored",
}


class Row(Struct, frozen=True):
    """One task in the ledger, with its effects in Postgres: `list_cell.sql`."""

    task_id: str
    key: str
    state: str
    attempt: int
    failed: list[int]  # the attempts that did not succeed
    effects: list[int]  # the attempts whose effect was committed


class Found(Struct, frozen=True, kw_only=True):
    """The findings after a cell."""

    acknowledged: Mapping[str, str]  # key -> task
    refused: Sequence[str]  # answers to submissions that no client should get
    rows: Sequence[Row]
    # task -> the attempts under which a plain handler noted its effect
    noted: Mapping[str, Sequence[int]]
    drained: bool
    leftovers: Sequence[str]  # lists of dispatch that still hold something
    cents_changed: int


class Outcome(Struct, frozen=True, kw_only=True):
    """One cell, done."""

    cell: Cell
    verdict: Verdict
    ended: bool = True  # or did the harness break off?
    reached_by: str = ""  # the service; empty: none
    seconds: float = 0.0
    complaints: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


def complaints(cell: Cell, found: Found, *, tasks: int) -> list[str]:
    """The violations, in sentences."""
    said = list(found.refused)
    if len(found.acknowledged) + len(found.refused) != tasks:
        said.append(f"of {tasks} submissions {len(found.acknowledged)} were acknowledged")
    for key, count in Counter(row.key for row in found.rows).items():
        if count > 1:
            said.append(f"the key {key} stands for {count} tasks")
    by_key = {row.key: row for row in found.rows}
    for key, task_id in sorted(found.acknowledged.items()):
        if key not in by_key or by_key[key].task_id != task_id:
            said.append(f"task {task_id} was acknowledged under {key}, and is not there")
    for row in found.rows:
        said += _about(row, found.noted.get(row.task_id, ()), cell.effects)
    if not found.drained:
        said.append("it did not drain")
    said += [f"{name} still holds something" for name in found.leftovers]
    if found.cents_changed:
        said.append(f"the sum over all accounts changed by {found.cents_changed}")
    return said


def _about(row: Row, noted: Sequence[int], effects: Effects) -> list[str]:
    said = []
    if row.state != State.SUCCESS:
        said.append(f"task {row.task_id} is {row.state}")
    before = list(range(1, row.attempt))
    if row.failed != (before if row.state == State.SUCCESS else [*before, row.attempt]):
        said.append(
            f"task {row.task_id} succeeded in attempt {row.attempt}, and the attempts before it were {row.failed}"
        )
    if effects is Effects.TRANSACTIONAL and row.effects != [row.attempt]:
        said.append(
            f"task {row.task_id} took effect in attempts {row.effects}, and ended in attempt {row.attempt}"
        )
    if effects is Effects.PLAIN and (not noted or max(noted) > row.attempt):
        said.append(
            f"task {row.task_id} took effect in attempts {sorted(noted)}, and ended in attempt {row.attempt}"
        )
    return said
