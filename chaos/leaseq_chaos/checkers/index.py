"""Index the evidence of a run by task.

The events and commits of a run, sorted once by task, so that the checkers need not search them
again. Invariants: nothing here judges; the order of commits is kept as the ledger made it, and is
believed more than any time.

The time of a commit is taken when its record is written, on another clock than the history's. It
may therefore seem up to `EARLY` away from where it belongs (the two clocks are related once, and
are then good to a few milliseconds), and others see a commit only after the record has
reached the disk: up to `LATE` later, and later still while Postgres is frozen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from msgspec import Struct

from leaseq.model import TERMINAL
from leaseq_chaos.checkers.lost import Lost, lost_of
from leaseq_chaos.evidence import Commit, Evidence
from leaseq_chaos.history import Event, Kind

__all__ = [
    "EARLY",
    "ENDED",
    "GONE",
    "LATE",
    "Index",
    "Op",
    "Placed",
    "Step",
    "index",
    "last_attempt",
    "no_commits",
    "no_history",
    "task_of",
]

EARLY = 50_000_000  # nanoseconds
LATE = 1_000_000_000  # nanoseconds

GONE = "GONE"  # the state of a row that was deleted
ENDED: frozenset[str] = frozenset(state.value for state in TERMINAL)


class Step(Struct, frozen=True, gc=False):
    """One change of a task's row after which its state, attempt or owner was another."""

    order: int  # its place among all commits
    lsn: int
    at: int
    verb: str
    state: str
    attempt: int
    worker: str | None


class Placed(Struct, frozen=True):
    """A commit to another table, with its place among all commits."""

    order: int
    commit: Commit


class Op(Struct, frozen=True):
    """One operation of a client or a handler, from its invocation to its answer, if one came."""

    process: str
    key: str | None
    task: str | None  # as asked for, else as answered
    told: str | None  # which task the answer is about
    attempt: int | None
    began: int
    ended: int | None  # None: no answer, so it may take effect at any time
    kind: Kind  # of the answer; INFO without one
    said: Mapping[str, Any]
    heard: Mapping[str, Any]


class Index(Struct, frozen=True):
    """A run, sorted by task."""

    evidence: Evidence
    lives: dict[str, list[Step]]  # in commit order
    claims: dict[tuple[str, int], Step]  # the first claim of each attempt
    tables: dict[str, list[Placed]]  # all tables but tasks
    ordered: bool  # do the places of the commits in the log grow?
    rows: dict[str, dict[str, Any]]  # the snapshot's tasks
    ops: dict[str, list[Op]]  # submit, read, cancel, foreign, run
    remarks: dict[str, list[Event]]  # events that are no operations: effect, redrive, phase, ...
    lost: Lost  # what failovers have lost

    def of_task(self, op: str) -> dict[str, list[Op]]:
        """The operations of one kind by task; those whose task is not known are left out."""
        found: dict[str, list[Op]] = defaultdict(list)
        for one in self.ops[op]:
            if one.task is not None:
                found[one.task].append(one)
        return found

    def redriven(self) -> set[str | None]:
        """The tasks for which a client requested a redrive after their end."""
        return {
            event.task for event in self.remarks.get("redrive", []) if event.kind is not Kind.FAIL
        }

    def accepted(self) -> list[Op]:
        """The submissions that were acknowledged, in the order of their acknowledgements."""
        return [op for op in self.ops["submit"] if op.kind is Kind.OK]


_latest: list[Index] = []


def index(evidence: Evidence) -> Index:
    """Sort the evidence. The last one is kept, since a dozen checkers ask for the same."""
    if not _latest or _latest[0].evidence is not evidence:
        _latest[:] = [_sorted(evidence)]
    return _latest[0]


def no_history(found: Index) -> str | None:
    """The reason why no checker can judge this run, if there is one."""
    return (
        None if found.accepted() else "no submission was acknowledged, so there is nothing to judge"
    )


def no_commits(found: Index) -> str | None:
    """The reason why checkers that use the order of commits cannot judge this run, if there is
    one."""
    if (silent := no_history(found)) is not None:
        return silent
    if not found.lives:
        return "the ledger's commits were not recorded"
    if not found.ordered:
        return "the recorded commits are not in the order in which they were made"
    unseen = sum(1 for task in found.rows if task not in found.lives)
    return f"the commits of {unseen} tasks were not recorded" if unseen else None


def task_of(row: Mapping[str, Any]) -> str:
    """The task that a row is about."""
    return str(row.get("task_id") or row.get("id") or "")


def last_attempt(row: Mapping[str, Any]) -> int:
    """The number of the last attempt that a row of `attempts` stands for: several hand-backs in a
    row share one."""
    return int(row["attempt"]) + max(int(row.get("hand_backs") or 1), 1) - 1


def _sorted(evidence: Evidence) -> Index:
    lives, tables = _commits(evidence.commits)
    ops, remarks = _events(evidence.events)
    claims: dict[tuple[str, int], Step] = {}
    for task, steps in lives.items():
        for step in steps:
            if step.state == "PROCESSING":
                claims.setdefault((task, step.attempt), step)
    return Index(
        evidence=evidence,
        lives=lives,
        claims=claims,
        tables=tables,
        ordered=_in_order(evidence.commits),
        rows={task_of(row): row for row in evidence.snapshot.tasks},
        ops=ops,
        remarks=remarks,
        lost=lost_of(evidence),
    )


def _in_order(commits: Sequence[Commit]) -> bool:
    return all(before.lsn <= after.lsn for before, after in pairwise(commits))


def _commits(commits: Sequence[Commit]) -> tuple[dict[str, list[Step]], dict[str, list[Placed]]]:
    lives: dict[str, list[Step]] = {}
    tables: dict[str, list[Placed]] = defaultdict(list)
    for order, commit in enumerate(commits):
        if commit.table != "tasks":
            tables[commit.table].append(Placed(order, commit))
            continue
        steps = lives.setdefault(task_of(commit.row), [])
        step = _step(order, commit, steps[-1] if steps else None)
        if step is not None:
            steps.append(step)
    return lives, tables


def _step(order: int, commit: Commit, before: Step | None) -> Step | None:
    """The step that a change of a row makes; None: it moved nothing (progress, a request to
    cancel)."""
    row = commit.row
    if commit.verb == "delete":
        attempt = before.attempt if before else 0
        return Step(order, commit.lsn, commit.at, commit.verb, GONE, attempt, None)
    step = Step(
        order,
        commit.lsn,
        commit.at,
        commit.verb,
        str(row["state"]),
        int(row["attempt"]),
        row.get("worker_id"),
    )
    moved = before is None or commit.verb == "insert" or _where(before) != _where(step)
    return step if moved else None


def _where(step: Step) -> tuple[str, int, str | None]:
    return step.state, step.attempt, step.worker


_OPS = ("submit", "read", "cancel", "foreign", "run")


def _events(events: Sequence[Event]) -> tuple[dict[str, list[Op]], dict[str, list[Event]]]:
    """Pair invocations with answers."""
    ops: dict[str, list[Op]] = {op: [] for op in _OPS}
    remarks: dict[str, list[Event]] = defaultdict(list)
    asked: dict[tuple[object, ...], Event] = {}
    for event in events:
        if event.op not in ops:
            remarks[event.op].append(event)
            continue
        what = _thread(event)
        if event.kind is not Kind.INVOKE:
            ops[event.op].append(_op(asked.pop(what, event), event))
        else:
            if what in asked:
                ops[event.op].append(_op(asked[what], None))
            asked[what] = event
    for event in asked.values():
        ops[event.op].append(_op(event, None))
    return ops, remarks


def _thread(event: Event) -> tuple[object, ...]:
    """The actor that does one thing at a time: a client with a key, a client, or an attempt in a
    process."""
    match event.op:
        case "run":
            return event.process, event.op, event.task, event.attempt
        case "submit":
            return event.process, event.op, event.key
        case _:
            return event.process, event.op


def _op(asked: Event, answer: Event | None) -> Op:
    known = answer or asked
    return Op(
        process=known.process,
        key=asked.key,
        task=asked.task or known.task,
        told=answer.task if answer else None,
        attempt=known.attempt,
        # An answer without a question (a torn history) may have been asked for at any time before.
        began=asked.at if asked.kind is Kind.INVOKE else 0,
        ended=answer.at if answer and answer.kind is not Kind.INFO else None,
        kind=answer.kind if answer else Kind.INFO,
        said=_mapping(asked.value if asked.kind is Kind.INVOKE else None),
        heard=_mapping(answer.value if answer else None),
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
