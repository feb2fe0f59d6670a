"""Check that an acknowledged cancel is honoured (I17).

CANCELLED means that no attempt starts any more. PROCESSING means that it was asked for: the running
attempt ends the task, in CANCELLED or, since an ending that was won beats a request, in SUCCESS or
FAILED; it is never claimed again. A cancel that was refused because the task had ended was right
about that. A requested redrive makes a task claimable again.
"""

from __future__ import annotations

from collections.abc import Iterator

from leaseq_chaos.checkers.answer import answer, milliseconds
from leaseq_chaos.checkers.index import EARLY, ENDED, Index, Op, index, no_commits
from leaseq_chaos.evidence import Evidence
from leaseq_chaos.history import Kind
from leaseq_chaos.verdict import Finding, Violation

__all__ = ["check"]

INVARIANT = "After an acknowledged cancel no attempt starts, and CANCELLED is CANCELLED."

# an ending may have been quicker than the look at what became of the task
_AFTER_A_CANCEL = ENDED | {"PROCESSING"}


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
        violations=[*_answers(found), *_claims(found), *_despite(found)],
        facts={
            "asked": len(cancels),
            "acknowledged": oks,
            "acknowledged while running": sum(
                1 for op in cancels if op.heard.get("state") == "PROCESSING"
            ),
        },
    )


def _answers(found: Index) -> Iterator[Violation]:
    """Was each answer true when it was given?"""
    for op in found.ops["cancel"]:
        if op.ended is not None and op.task is not None:
            by_then = {
                step.state for step in found.lives.get(op.task, []) if step.at <= op.ended + EARLY
            }
            if op.task in found.lost.touched:
                by_then |= {state for task, state, _ in found.lost.seen if task == op.task}
            yield from (
                Violation(f"{op.process} {said}", op.task, op.ended)
                for said in _untrue(op, by_then)
            )


def _untrue(op: Op, by_then: set[str]) -> Iterator[str]:
    state = op.heard.get("state")
    if op.kind is Kind.FAIL:
        if op.heard.get("code") == "task_conflict" and not by_then & ENDED:
            yield "was refused a cancel as if the task had ended, and it had not"
    elif op.told not in (None, op.task):
        yield f"asked to cancel this task and was answered about {op.told}"
    elif state not in _AFTER_A_CANCEL:
        yield f"got {state} from an acknowledged cancel"
    elif state == "CANCELLED" and state not in by_then:
        yield "got CANCELLED, but the ledger had not recorded that by then"


def _claims(found: Index) -> Iterator[Violation]:
    """By the clock, none after the acknowledgement; by the order of commits, none after
    CANCELLED."""
    heard = {
        op.task: op.ended
        for op in reversed(found.ops["cancel"])
        if op.kind is Kind.OK and op.ended is not None
    }
    redriven = found.redriven()
    for task, ended in heard.items():
        if task is None or task in redriven or task in found.lost.cancelled:
            continue
        cancelled = False
        for step in found.lives.get(task, []):
            cancelled = cancelled or step.state == "CANCELLED"
            late = step.at - ended
            if step.state != "PROCESSING":
                continue
            if late > EARLY:
                said = f"attempt {step.attempt} was claimed {milliseconds(late)} after an acknowledged cancel"
                yield Violation(said, task, step.at)
            elif cancelled:
                yield Violation(
                    f"attempt {step.attempt} was claimed after the ledger had cancelled the task",
                    task,
                    step.at,
                )


def _despite(found: Index) -> Iterator[Violation]:
    """A claim leaves a cancel request unchanged, and must not find one: every end of an attempt
    honours it."""
    for (task, attempt), claim in found.claims.items():
        if found.evidence.commits[claim.order].row.get("cancel_requested_at") is not None:
            yield Violation(
                f"attempt {attempt} was claimed though the ledger had a request to cancel",
                task,
                claim.at,
            )
