"""Check that no accepted task is lost (I1, I2, I13, I18).

An acknowledged task is in the ledger at the end, has ended, was found by every later reader, and
had been committed when it was acknowledged. No submission was refused without a reason. Conversely,
a client has submitted every task that is in the ledger or had an effect.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from leaseq_chaos.checkers.answer import answer, milliseconds
from leaseq_chaos.checkers.index import EARLY, ENDED, Index, Op, index, no_history, task_of
from leaseq_chaos.evidence import Evidence
from leaseq_chaos.history import Kind
from leaseq_chaos.verdict import Finding, Violation

__all__ = ["check"]

INVARIANT = (
    "An accepted task is never lost: it is in the ledger, can be read, and ends; "
    "and every task was submitted by a client."
)

# Refusals that a workload of right requests may meet. A request that a proxy cut short never
# reaches the words of the API.
_DESERVED = {
    "idempotency_key_reused", "idempotency_in_flight", "task_conflict", "task_not_found",
    "request_malformed", "head_timeout", "body_timeout", "http_400", "http_408",
}  # fmt: skip


def check(evidence: Evidence) -> Finding:
    """Compare the acknowledgements with the ledger, both ways."""
    found = index(evidence)
    accepted = {op.task: op.ended or 0 for op in reversed(found.accepted()) if op.task is not None}
    return answer(
        "accepted",
        INVARIANT,
        missing=no_history(found),
        said=f"{len(accepted):,} accepted tasks were looked for among {len(found.rows):,} in the ledger",
        violations=[
            *_lost(found, accepted),
            *_hasty(found, accepted),
            *_unknown_to_readers(found),
            *_refused(found),
            *_phantoms(found),
        ],
        facts={"accepted": len(accepted), "in the ledger": len(found.rows)},
    )


def _lost(found: Index, accepted: dict[str, int]) -> Iterator[Violation]:
    snapshot = found.evidence.snapshot
    for task, at in accepted.items():
        row = found.rows.get(task)
        if row is None and task in found.lost.created:
            continue
        if row is None:
            yield Violation("accepted, and not in the ledger at the end", task, at)
        elif row["state"] not in ENDED:
            waited = f"after the drain of {snapshot.waited_seconds:.0f} s"
            yield Violation(f"accepted, and not ended {waited}: it is {row['state']}", task, at)


def _hasty(found: Index, accepted: dict[str, int]) -> Iterator[Violation]:
    """No client gets an answer about a task before it is committed."""
    for task, at in accepted.items():
        steps = found.lives.get(task)
        if steps and steps[0].verb == "insert" and steps[0].at > at + EARLY:
            yield Violation(
                f"acknowledged {milliseconds(steps[0].at - at)} before it was committed", task, at
            )


def _unknown_to_readers(found: Index) -> Iterator[Violation]:
    """A 404 is wrong once any client was informed that the task exists."""
    witnessed: dict[str, int] = {}
    for op in (*found.ops["submit"], *found.ops["read"]):
        task = (
            op.heard.get("task")
            if op.kind is Kind.FAIL
            else op.task
            if op.kind is Kind.OK
            else None
        )
        if isinstance(task, str) and op.ended is not None:
            witnessed[task] = min(op.ended, witnessed.get(task, op.ended))
    for op in (*found.ops["read"], *found.ops["cancel"]):
        known = witnessed.get(op.task or "")
        if (
            known is not None
            and known < op.began
            and op.heard.get("code") == "task_not_found"
            and not _elsewhere(found, op)
        ):
            later = milliseconds(op.began - known)
            yield Violation(
                f"{op.process} got task_not_found {later} after a client knew the task",
                op.task,
                op.began,
            )


def _elsewhere(found: Index, op: Op) -> bool:
    """Was the question answered by a server that rightly does not know the task?"""
    if op.task in found.lost.created:
        return True
    old = found.lost.asked(op.began, op.ended)
    steps = found.lives.get(op.task or "")
    return old is not None and (not steps or steps[0].lsn > old.branched)


def _refused(found: Index) -> Iterator[Violation]:
    for what in ("submit", "read", "cancel"):
        for op in found.ops[what]:
            if op.kind is Kind.FAIL and op.heard.get("code") not in _DESERVED:
                about = op.task or f"key {op.key}"
                yield Violation(
                    f"{op.process} was refused a {what} of {about}: {op.heard.get('code')}",
                    op.task,
                    op.ended,
                )


def _phantoms(found: Index) -> Iterator[Violation]:
    """Tasks and effects that no submission accounts for."""
    possible = [op for op in found.ops["submit"] if op.kind is not Kind.FAIL]
    keys = {op.key for op in possible if op.key is not None}
    known = {op.task for op in possible}
    fired = {row["task_id"] for row in found.evidence.snapshot.fired or []}  # by a schedule
    unsure = Counter(
        op.said.get("type") for op in possible if op.key is None and op.kind is not Kind.OK
    )
    for task, row in found.rows.items():
        if task in known or row.get("idempotency_key") in keys or task in fired:
            continue
        if row.get("idempotency_key") is None and unsure[row.get("type")] > 0:
            unsure[row.get("type")] -= 1
        else:
            yield Violation(f"in the ledger ({row['state']}), but no client submitted it", task)
    rows = {task_of(row) for row in found.evidence.snapshot.effects}
    for task in sorted(rows | {event.task or "" for event in found.remarks.get("effect", [])}):
        if task not in found.rows and task not in known and task not in found.lost.touched:
            yield Violation("had an effect, but no client submitted it", task)
