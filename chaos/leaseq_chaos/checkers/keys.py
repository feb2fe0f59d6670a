"""Check that one idempotency key stands for one task (I3).

However often and however concurrently a key is sent, it stands for one task with one body. Another
body is refused, the same never.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

from leaseq_chaos.checkers.answer import answer
from leaseq_chaos.checkers.index import Index, Op, index, no_history, task_of
from leaseq_chaos.evidence import Evidence
from leaseq_chaos.history import Kind
from leaseq_chaos.verdict import Finding, Violation

__all__ = ["check"]

INVARIANT = "One idempotency key is one task, made of the body that came first."


def check(evidence: Evidence) -> Finding:
    """Group the submissions by key, and compare them with each other and with the ledger's keys."""
    found = index(evidence)
    by_key: dict[str, list[Op]] = defaultdict(list)
    for op in found.ops["submit"]:
        if op.key is not None:
            by_key[op.key].append(op)
    lost = found.lost.created
    told = {
        key: [op for op in ops if op.kind is Kind.OK and op.task not in lost]
        for key, ops in by_key.items()
    }
    accepted = {key: oks for key, oks in told.items() if oks}
    missing = no_history(found)
    if missing is None and not accepted and not lost:
        missing = "no submission with a key was acknowledged"
    return answer(
        "keys",
        INVARIANT,
        missing=missing,
        said=f"{sum(map(len, by_key.values())):,} submissions of {len(by_key):,} keys were compared",
        violations=[
            *_answers(accepted),
            *_refusals(by_key, accepted, lost),
            *_recorded(found, accepted),
            *_unique(found),
        ],
        facts={
            "keys": len(by_key),
            "sent more than once": sum(1 for ops in by_key.values() if len(ops) > 1),
            "refused for another body": sum(
                1 for ops in by_key.values() for op in ops if _refused(op)
            ),
        },
    )


def _refused(op: Op) -> bool:
    return op.kind is Kind.FAIL and op.heard.get("code") == "idempotency_key_reused"


def _answers(accepted: Mapping[str, Sequence[Op]]) -> Iterator[Violation]:
    """All acknowledgements of a key name one task and one body."""
    for key, oks in accepted.items():
        first = oks[0]
        for op in oks[1:]:
            if op.task != first.task:
                yield Violation(
                    f"key {key} was acknowledged as this task and as {first.task}",
                    op.task,
                    op.ended,
                )
            if op.said.get("variant") != first.said.get("variant"):
                bodies = f"{first.said.get('variant')} and {op.said.get('variant')}"
                yield Violation(
                    f"key {key} was acknowledged for two bodies, {bodies}", op.task, op.ended
                )


def _refusals(
    by_key: Mapping[str, Sequence[Op]], accepted: Mapping[str, Sequence[Op]], lost: Collection[str]
) -> Iterator[Violation]:
    """A refusal names the task of the key, and is right about the body. One that names a lost task
    was right at its time."""
    for key, oks in accepted.items():
        task, body = oks[0].task, oks[0].said.get("variant")
        for op in filter(_refused, by_key[key]):
            named = op.heard.get("task", task)
            if named in lost:
                continue
            if named != task:
                yield Violation(f"a refusal of key {key} names {named} instead", task, op.ended)
            if op.said.get("variant") == body:
                yield Violation(
                    f"key {key} was refused as used for another body, and the body was the same",
                    task,
                    op.ended,
                )


def _recorded(found: Index, accepted: Mapping[str, Sequence[Op]]) -> Iterator[Violation]:
    """The ledger has the acknowledged task under a key."""
    recorded = {str(row["key"]): task_of(row) for row in found.evidence.snapshot.keys}
    for key, oks in accepted.items():
        first = oks[0]
        if recorded.get(key) != first.task:
            yield Violation(
                f"the ledger has key {key} for {recorded.get(key, 'no task')}",
                first.task,
                first.ended,
            )
        row = found.rows.get(first.task or "", {})
        asked, made = first.said.get("type"), row.get("type")
        if asked and made and asked != made:
            yield Violation(
                f"key {key} asked for the type {asked}, and the task is of the type {made}",
                first.task,
                first.ended,
            )
    for key, task in recorded.items():
        if task not in found.rows:
            yield Violation(f"the ledger has key {key} for a task that it does not have", task)


def _unique(found: Index) -> Iterator[Violation]:
    """In the ledger too, at the end and at any time: one key, one task."""
    owners: dict[str, str] = {}
    claims = [
        (str(row["idempotency_key"]), task)
        for task, row in found.rows.items()
        if row.get("idempotency_key") is not None
    ]
    claims += [(str(row["key"]), task_of(row)) for row in found.evidence.snapshot.keys]
    rows = [
        placed.commit.row
        for placed in found.tables.get("idempotency_keys", [])
        if placed.commit.verb != "delete"
    ]
    claims += [(str(row["key"]), task_of(row)) for row in rows]
    told = set()
    for key, task in claims:
        owner = owners.setdefault(key, task)
        if owner != task and (key, task) not in told:
            told.add((key, task))
            yield Violation(f"two tasks in the ledger have key {key}: this one and {owner}", task)
