"""Explain from facts why a task is where it is.

A pure function: it reads no store and no clock. The first case that fits the facts wins; the order
of the cases is in the module of each state. The table in docs/why.md has them all.
"""

from __future__ import annotations

from msgspec.structs import asdict

from leaseq.model import TERMINAL, State
from leaseq.operations.why.answer import FailureOfTask, Verdict, Why
from leaseq.operations.why.ended import explain_ended, explain_pruned
from leaseq.operations.why.evidence import gather_evidence
from leaseq.operations.why.facts import Facts
from leaseq.operations.why.pending import explain_pending
from leaseq.operations.why.processing import explain_processing
from leaseq.operations.why.scheduled import explain_scheduled


def explain(facts: Facts) -> Why:
    """The case that fits, in words. Contradictory and missing facts give a sentence, too."""
    verdict, task = _judge(facts), facts.task
    task_id, state = ("", None) if task is None else (task.task_id, task.state)
    if task is None and facts.remembered is not None:
        task_id, state = facts.remembered.task_id, _final_state(facts.remembered.final_state)
    return Why(
        task_id=task_id,
        state=state,
        case=verdict.case,
        sentence=verdict.sentence,
        next=verdict.next,
        next_at=verdict.next_at,
        since=verdict.since,
        actions=verdict.actions,
        evidence=gather_evidence(facts),
        failure=_failure(facts),
        needs_person=verdict.needs_person,
        at=facts.now,
    )


def _failure(facts: Facts) -> FailureOfTask | None:
    return None if facts.failure is None else FailureOfTask(**asdict(facts.failure))


def _final_state(text: str | None) -> State | None:
    return State(text) if text in list(State) else None


def _judge(facts: Facts) -> Verdict:
    task = facts.task
    if task is None:
        return explain_pruned(facts)
    if task.state in TERMINAL:
        return explain_ended(facts, task)
    if task.state is State.SCHEDULED:
        return explain_scheduled(facts, task)
    if task.state is State.PENDING:
        return explain_pending(facts, task)
    return explain_processing(facts, task)


__all__ = ["explain"]
