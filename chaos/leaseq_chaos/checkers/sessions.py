"""Check that no attempt reaches the session of another one (I22, G3).

Every connection of a handler is as if it were new: session settings of another handler are gone,
and every object that was lent ends with its attempt. `observe` notes the marks that `meddle`
leaves; `keep` and `linger` note each write that was taken through a transaction of an attempt that
is over.
"""

from __future__ import annotations

from collections.abc import Iterator

from leaseq_chaos.checkers.answer import answer, milliseconds
from leaseq_chaos.checkers.index import EARLY, Index, index, no_commits
from leaseq_chaos.evidence import Evidence
from leaseq_chaos.verdict import Finding, Violation

__all__ = ["check"]

INVARIANT = (
    "No session setting of one attempt, and no connection that it kept, reaches another attempt."
)


def check(evidence: Evidence) -> Finding:
    """Examine the marks that handlers found in their sessions, and the writes that were taken too
    late."""
    found = index(evidence)
    observed = found.remarks.get("session", [])
    return answer(
        "sessions",
        INVARIANT,
        missing=no_commits(found),
        said=f"{len(observed):,} sessions were looked at by their handlers"
        if observed
        else "no handler looked at its session",
        violations=[*_left(found), *_late(found)],
        facts={
            "observed": len(observed),
            "writes through a kept transaction": len(found.remarks.get("late", [])),
        },
    )


def _left(found: Index) -> Iterator[Violation]:
    for event in found.remarks.get("session", []):
        if marks := (event.value or {}).get("marks"):
            yield Violation(
                f"attempt {event.attempt} began on a session that another had left with {marks}",
                event.task,
                event.at,
            )


def _late(found: Index) -> Iterator[Violation]:
    for event in found.remarks.get("late", []):
        task, attempt = event.task or "", event.attempt or 0
        by = (event.value or {}).get("by", task)
        if by != task:
            yield Violation(
                f"a write of task {by} was taken through the transaction of attempt {attempt}",
                task,
                event.at,
            )
        ended = _end_of(found, task, attempt)
        began = int((event.value or {}).get("began", event.at))
        if ended is not None and began > ended + EARLY:
            later = milliseconds(began - ended)
            yield Violation(
                f"a write of attempt {attempt} was taken {later} after that attempt had ended",
                task,
                began,
            )


def _end_of(found: Index, task: str, attempt: int) -> int | None:
    """When this attempt was over, by the commit that says so."""
    steps = found.lives.get(task, [])
    claimed = next(
        (
            place
            for place, step in enumerate(steps)
            if (step.state, step.attempt) == ("PROCESSING", attempt)
        ),
        None,
    )
    return None if claimed is None or claimed + 1 == len(steps) else steps[claimed + 1].at
