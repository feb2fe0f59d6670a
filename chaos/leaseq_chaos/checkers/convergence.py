"""Check that both stores are at rest after the drain (I14).

No task waits or runs, dispatch holds no delivery and no lane has a backlog, only open workers have
leases or beats, and every key has an owner. Parked values (they were found in a ready list and are
no deliveries) are a remark, not a violation.
"""

from __future__ import annotations

from collections.abc import Iterator

from leaseq_chaos.checkers.answer import answer
from leaseq_chaos.checkers.index import ENDED, Index, index, no_history
from leaseq_chaos.evidence import Evidence, Lane
from leaseq_chaos.verdict import Finding, Violation

__all__ = ["check"]

INVARIANT = "After the drain nothing waits, nothing runs, and dispatch holds nothing that the ledger does not know of."

_LISTS = {"ready", "processing"}
_BACKLOG = "backlog"
_REGISTERS = {"leases", "beats"}
_FLAGS = {"epoch", "paused", "parked", "ledger"}
# Of no queue: the epoch of dispatch, and the names of queues that may have a backlog.
_SHARED = ("epoch", "backlogs")


def check(evidence: Evidence) -> Finding:
    """Examine both stores after the drain."""
    found = index(evidence)
    snapshot = evidence.snapshot
    violations = [
        *_tasks(found),
        *(violation for lane in snapshot.dispatch for violation in _lane(found, lane)),
    ]
    missing = no_history(found)
    if missing is None and not violations and not snapshot.drained:
        missing = f"the run had not drained after {snapshot.waited_seconds:.0f} s"
    return answer(
        "convergence",
        INVARIANT,
        missing=missing,
        said=f"{len(found.rows):,} tasks and {len(snapshot.dispatch)} keys of dispatch were looked at",
        violations=violations,
        facts={
            "keys": len(snapshot.dispatch),
            "open workers": len(snapshot.open_workers),
            "parked": sum(lane.length for lane in snapshot.dispatch if _what(lane.key) == "parked"),
        },
    )


def _tasks(found: Index) -> Iterator[Violation]:
    for task, row in found.rows.items():
        if row["state"] not in ENDED:
            yield Violation(
                f"still {row['state']} (attempt {row['attempt']}) after the drain", task
            )


def _lane(found: Index, lane: Lane) -> Iterator[Violation]:
    what, at = _what(lane.key), found.evidence.snapshot.at
    if what in _LISTS and lane.length:
        task = lane.members[0] if lane.members else None
        state = found.rows[task]["state"] if task in found.rows else "unknown to the ledger"
        yield Violation(
            f"{lane.key} still holds {lane.length:,} deliveries; the first is {state}", task, at
        )
    elif what == _BACKLOG:
        yield Violation(
            f"{lane.key} still has a backlog of {', '.join(lane.members)}, and nothing waits", at=at
        )
    elif what in _REGISTERS:
        for worker in sorted(set(lane.members) - set(found.evidence.snapshot.open_workers)):
            yield Violation(f"{lane.key} has {worker}, which the ledger does not have open", at=at)
    elif what not in _LISTS | _FLAGS and lane.key.rpartition(":")[2] not in _SHARED:
        yield Violation(f"{lane.key} is a key without an owner", at=at)


def _what(key: str) -> str:
    """The kind of a key: the word after the queue's hash tag, or after the prefix if it belongs to
    no queue."""
    _, tag, rest = key.partition("}:")
    return rest.partition(":")[0] if tag else key.rpartition(":")[2]
