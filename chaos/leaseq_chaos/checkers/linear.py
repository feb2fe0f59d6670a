"""Check that the operations on every task are linearizable (I24).

Each task is judged alone, and a key with the task that it stands for: objects that are linearizable
are so together. The operations of clients are intervals; one without an answer may take effect at
any later time, or never. The steps of the ledger are given: its own order of commits, each visible
to others from some moment not more than `EARLY` before its time, and not later than the next commit
to the same row (which had to wait for it) or `LATE` after its time; while a fault of Postgres is
open, that may wait for the heal. Invariant: a task that could not be decided within the limits of
the search is unknown, never valid.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import msgspec
from msgspec import Struct, field

from leaseq_chaos.checkers.answer import answer
from leaseq_chaos.checkers.faults import Calendar, faults_of
from leaseq_chaos.checkers.index import (
    EARLY,
    GONE,
    LATE,
    Index,
    Op,
    Step,
    index,
    no_commits,
    task_of,
)
from leaseq_chaos.checkers.linear_model import FOREVER, Mark, Operation, What
from leaseq_chaos.checkers.linear_search import search
from leaseq_chaos.evidence import Evidence
from leaseq_chaos.history import Kind
from leaseq_chaos.verdict import Finding, Violation

__all__ = ["check"]

INVARIANT = "The answers about each task are those of some sequential order of its operations."

_POSTGRES = re.compile(r".*postgres.*|.*backends?(-.*)?|lock-tasks")


class _Object(Struct):
    """A key with its tasks, or a task without a key."""

    steps: list[tuple[str, Step]] = field(default_factory=list)  # (task, step), in commit order
    # (submit, read or cancel, the operation)
    ops: list[tuple[str, Op]] = field(default_factory=list)
    keyed: bool = False


def check(evidence: Evidence) -> Finding:
    """Search an order for each task and key."""
    found = index(evidence)
    objects = _objects(found)
    marks_of = _Marks(found)
    violations: list[Violation] = []
    undecided = excused = 0
    for name, each in objects.items():
        if any(step.state == GONE for _, step in each.steps):
            # pruned in the middle of the run: what a read may see of it afterwards is not in the
            # model
            undecided += 1
            continue
        if _failed_over(found, each):
            excused += 1
            continue
        operations = _operations(each.ops)
        created = any(operation.what is What.SUBMIT and operation.sure for operation in operations)
        result = search(
            marks_of.all(each.steps), operations, anonymous=not each.keyed and not created
        )
        if result.explained is None:
            undecided += 1
        elif not result.explained:
            task = (
                each.steps[0][0]
                if each.steps
                else next((op.task for _, op in each.ops if op.task), None)
            )
            violations.append(
                Violation(
                    f"{result.said} (key {name})" if each.keyed else result.said, task, result.at
                )
            )
    count = sum(len(each.ops) for each in objects.values())
    missing = no_commits(found)
    if missing is None and undecided and not violations:
        missing = f"{undecided} of {len(objects):,} tasks could not be decided"
    return answer(
        "linear",
        INVARIANT,
        missing=missing,
        said=f"an order was sought for each of {len(objects):,} tasks, with {count:,} operations of clients",
        violations=violations,
        facts={
            "objects": len(objects),
            "operations": count,
            "undecided": undecided,
            "on two primaries": excused,
        },
    )


def _failed_over(found: Index, each: _Object) -> bool:
    """Whether any of it may be of a primary that was left: there is no one order then, and `reads`
    and `keys` judge the rest."""
    tasks = {task for task, _ in each.steps} | {op.task for _, op in each.ops}
    if not tasks.isdisjoint(found.lost.touched):
        return True
    return any(found.lost.asked(op.began, op.ended) is not None for _, op in each.ops)


def _objects(found: Index) -> dict[str, _Object]:
    keys = _keys(found)
    objects: dict[str, _Object] = defaultdict(_Object)
    fired = {row["task_id"] for row in found.evidence.snapshot.fired or []}  # by no client
    for task, steps in found.lives.items():
        if task in fired:
            continue
        each = objects[keys.get(task, task)]
        each.keyed = each.keyed or task in keys
        each.steps.extend((task, step) for step in steps)
    for what in ("submit", "read", "cancel"):
        for op in found.ops[what]:
            name = op.key or (keys.get(op.task, op.task) if op.task else None)
            if name is None:
                continue  # a submission without key and answer: its task belongs to no client
            each = objects[name]
            each.keyed = each.keyed or op.key is not None
            each.ops.append((what, op))
    for each in objects.values():
        each.steps.sort(key=lambda pair: pair[1].order)
    return objects


def _keys(found: Index) -> dict[str, str]:
    """Which key does a task stand for? By the ledger, and by its row after the drain."""
    keys = {
        task: row["idempotency_key"]
        for task, row in found.rows.items()
        if row.get("idempotency_key") is not None
    }
    for placed in found.tables.get("idempotency_keys", ()):
        if placed.commit.verb == "insert":
            keys[task_of(placed.commit.row)] = placed.commit.row["key"]
    return keys


class _Marks:
    """Turns steps into marks: when could each be seen, and who made it?"""

    def __init__(self, found: Index) -> None:
        self._by: dict[tuple[str, int], Mapping[str, object]] = {}
        # An attempt that failed has a row of its own, one that succeeded perhaps an effect: in the
        # transaction of its settle.
        for table in ("effects", "attempts"):
            for placed in found.tables.get(table, ()):
                if placed.commit.verb == "insert":
                    self._by[task_of(placed.commit.row), placed.commit.lsn] = placed.commit.row
        self._away = Calendar(
            [fault for fault in faults_of(found.evidence) if _POSTGRES.fullmatch(fault.nemesis)]
        )

    def all(self, steps: Sequence[tuple[str, Step]]) -> list[Mark]:
        marks = []
        for i, (task, step) in enumerate(steps):
            early, late = step.at - EARLY, self._late(step.at)
            if i + 1 < len(steps) and steps[i + 1][0] == task:
                late = max(min(late, steps[i + 1][1].at + EARLY), early)
            by = (
                self._by.get((task, step.lsn), {})
                if i and steps[i - 1][1].state == "PROCESSING"
                else {}
            )
            marks.append(
                Mark(
                    early=early,
                    late=late,
                    task=task,
                    state=step.state,
                    attempt=step.attempt,
                    worker=step.worker,
                    inserts=step.verb == "insert",
                    by_attempt=_number(by.get("attempt")),
                    by_worker=_text(by.get("worker_id")),
                )
            )
        return marks

    def _late(self, at: int) -> int:
        return max(
            [
                at + LATE,
                *(fault.ended + LATE for fault in self._away.open_in(at - EARLY, at + LATE)),
            ]
        )


def _operations(ops: Sequence[tuple[str, Op]]) -> list[Operation]:
    operations: list[Operation] = []
    for what, op in ops:
        operations.extend(_halves(what, op, place=len(operations)))
    return operations


def _halves(what: str, op: Op, *, place: int) -> Iterator[Operation]:
    """An operation of a client in the model: nothing, one operation, or two of which the second is
    a read."""
    known = _known(what, op)
    if known is None:
        return
    kind, sure = known
    ended = FOREVER if op.ended is None or not sure else op.ended
    variant = _text(op.said.get("variant", "a")) if what == "submit" else None
    task = op.task or _text(op.heard.get("task")) if sure else None
    state, attempt = _text(op.heard.get("state")), _number(op.heard.get("attempt"))
    first = Operation(
        what=kind,
        process=op.process,
        began=op.began,
        ended=ended,
        sure=sure,
        task=task,
        variant=variant,
    )
    if kind is What.READ:
        first = msgspec.structs.replace(first, state=state, attempt=attempt)
    yield first
    if sure and kind in (What.SUBMIT, What.CANCEL) and state is not None:
        yield msgspec.structs.replace(
            first,
            what=What.READ,
            variant=None,
            task=None,
            state=state,
            attempt=attempt,
            after=place,
        )


def _known(what: str, op: Op) -> tuple[What, bool] | None:
    """The operation, and whether it certainly took effect; None: it certainly did not, or only read
    and saw nothing."""
    code = op.heard.get("code")
    match what, op.kind:
        case "submit", Kind.OK:
            return What.SUBMIT, True
        case "submit", Kind.FAIL if code == "idempotency_key_reused":
            return What.REUSED, True
        case "submit", Kind.INFO:
            return What.SUBMIT, False
        case "submit", Kind.FAIL if code == "idempotency_in_flight":
            # "come again" says nothing about earlier requests, for instance by the API itself
            return What.SUBMIT, False
        case "read", Kind.OK:
            return What.READ, True
        case "cancel", Kind.OK:
            return What.CANCEL, True
        case "cancel", Kind.INFO:
            return What.CANCEL, False
        case "cancel", Kind.FAIL if code == "task_conflict":
            return What.CONFLICT, True
        case (("read" | "cancel"), Kind.FAIL) if code == "task_not_found":
            return What.ABSENT, True
    return None


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None
