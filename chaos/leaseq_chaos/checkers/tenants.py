"""Check that no answer shows a task of another tenant (I26, G9).

Each client submits, reads and cancels with the API key of the task's tenant, and sometimes asks for
a task with the key of another tenant. Such a request is answered with 404, as for a task that does
not exist, and changes nothing; every other answer names the tenant of the key that was sent.
"""

from __future__ import annotations

from collections.abc import Iterator

from leaseq_chaos.checkers.answer import answer
from leaseq_chaos.checkers.index import Index, Op, index, no_history
from leaseq_chaos.evidence import Evidence
from leaseq_chaos.history import Kind
from leaseq_chaos.verdict import Finding, Violation

__all__ = ["check"]

INVARIANT = "No answer shows a task of another tenant, and no request changes one."
# Answers of an API that is at work and has no such task for this key.
UNKNOWN = "task_not_found"


def check(evidence: Evidence) -> Finding:
    """Compare the tenant of each request with that of its answer and of the ledger's row."""
    found = index(evidence)
    named = [op for what in ("submit", "read") for op in found.ops[what] if "tenant" in op.said]
    foreign = found.ops["foreign"]
    answered = [op for op in foreign if op.kind is not Kind.INFO]
    missing = no_history(found)
    if missing is None and foreign and not answered:
        missing = "no request with the key of another tenant was answered"
    said = f"{len(named):,} requests named their tenant, and {len(answered):,} asked for a foreign task"
    return answer(
        "tenants",
        INVARIANT,
        missing=missing,
        said=said if named else "the API asked for no keys",
        violations=[*_own(found, named), *_foreign(answered)],
        facts={"requests with a tenant": len(named), "foreign requests answered": len(answered)},
    )


def _own(found: Index, named: list[Op]) -> Iterator[Violation]:
    for op in named:
        tenant = op.said["tenant"]
        if op.kind is Kind.OK and op.heard.get("tenant") != tenant:
            yield Violation(
                f"{op.process} asked as {tenant} and was shown a task of {op.heard.get('tenant')}",
                op.task,
                op.ended,
            )
        row = found.rows.get(op.told or "")
        if op.kind is Kind.OK and row is not None and row.get("tenant") != tenant:
            yield Violation(
                f"the ledger has this task for {row.get('tenant')}, and {tenant} was answered",
                op.task,
                op.ended,
            )


def _foreign(answered: list[Op]) -> Iterator[Violation]:
    for op in answered:
        if op.kind is Kind.OK:
            yield Violation(
                f"{op.process} was shown a task of another tenant with the key of {op.said.get('tenant')}",
                op.task,
                op.ended,
            )
        elif op.heard.get("code") != UNKNOWN:
            yield Violation(
                f"a request for a foreign task was refused with {op.heard.get('code')}, which tells that it exists",
                op.task,
                op.ended,
            )
