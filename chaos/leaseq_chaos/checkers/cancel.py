"""Is a cancel that was acknowledged honoured (I17)?

CANCELLED means that no attempt starts any more. PROCESSING means that it was asked for: the running attempt ends the task, in
CANCELLED or, since an ending that was won beats a request, in SUCCESS or FAILED; it is never claimed again. A cancel that was
refused because the task had ended was right about that. A redrive that somebody asked for makes a task claimable again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from leaseq_chaos.checkers.answer import answer, milliseconds
from leaseq_chaos.checkers.index import EARLY, ENDED, Index, Op, Step, index, no_commits
from leaseq_chaos.evidence import Evidence
from leaseq_chaos.history import Kind
from leaseq_chaos.verdict import Finding, Violation

__all__ = ["check"]

INVARIANT = "After an acknowledged cancel no attempt starts, and CANCELLED is CANCELLED."

_RUNNING = ENDED | {"PROCESSING"}  # what a task may be when its cancel is acknowledged


def check(evidence: Evidence) -> Finding:
    """Look at what each task did after its cancel."""
    found = index(evidence)
    cancels = found.ops["cancel"]
    oks = sum(1 for op in cancels if op.kind is Kind.OK)
    return answer(
        "cancel",
        INVARIANT,
        missing=no_commits(found),
        said=f"{len(cancels):,} cancels were asked for, {oks:,} of them acknowledged",
        violations=[*(violation for op in cancels for violation in _one(found, op)), *_despite(found)],
        facts={
            "asked": len(cancels),
            "acknowledged": oks,
            "acknowledged while running": sum(1 for op in cancels if op.heard.get("state") == "PROCESSING"),
        },
    )


def _one(found: Index, op: Op) -> Iterator[Violation]:
    task, steps = op.task or "", found.lives.get(op.task or "", [])
    if op.ended is None:
        return
    if op.kind is Kind.OK and op.told not in (None, op.task):
        yield Violation(f"{op.process} asked to cancel this task and was answered about {op.told}", task, op.ended)
    by_then = [step for step in steps if step.at <= op.ended + EARLY]
    if op.kind is Kind.FAIL:
        if op.heard.get("code") == "task_conflict" and not any(step.state in ENDED for step in by_then):
            yield Violation(f"{op.process} was refused a cancel as if the task had ended, and it had not", task, op.ended)
        return
    state = op.heard.get("state")
    if state not in _RUNNING:
        yield Violation(f"{op.process} was told {state} by a cancel that was acknowledged", task, op.ended)
    if state == "CANCELLED" and not any(step.state == "CANCELLED" for step in by_then):
        yield Violation(f"{op.process} was told CANCELLED, and by then the ledger had never said so", task, op.ended)
    yield from _claimed_later(found, op, task, steps)


def _claimed_later(found: Index, op: Op, task: str, steps: Sequence[Step]) -> Iterator[Violation]:
    if any(event.task == task and event.kind is not Kind.FAIL for event in found.remarks.get("redrive", [])):
        return
    over = next((step.order for step in steps if step.state == "CANCELLED"), None)
    for step in steps:
        if step.state != "PROCESSING":
            continue
        late = step.at - (op.ended or 0)
        if late > EARLY:
            yield Violation(
                f"attempt {step.attempt} was claimed {milliseconds(late)} after an acknowledged cancel", task, step.at
            )
        elif over is not None and step.order > over:
            yield Violation(f"attempt {step.attempt} was claimed after the ledger had cancelled the task", task, step.at)


def _despite(found: Index) -> Iterator[Violation]:
    """A claim leaves a request as it is, and there must be none to leave: whatever ends an attempt honours it."""
    for (task, attempt), claim in found.claims.items():
        if found.evidence.commits[claim.order].row.get("cancel_requested_at") is not None:
            yield Violation(f"attempt {attempt} was claimed though the ledger had a request to cancel", task, claim.at)
