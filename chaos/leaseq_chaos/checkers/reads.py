"""Check that readers see true states that never go back (I11).

The answer of a read (state, attempt) must be one of the task's versions in the order of commits;
the version must have been current at some moment between question and answer; and it must not be
older than what an earlier read, finished before this one began, has seen. For each read the oldest
version that fits is taken: if any choice satisfies all reads, this one does.

When a version begins and ends is known as well as times of commits are: it may seem to begin up to
`EARLY` too late, and be seen up to `LATE` after its successor was written, since that is visible
only once it is on the disk. A Postgres that is frozen, restarted or without a disk stretches that
to its heal. That reads do not go back is the stricter half, and needs no clock.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

from leaseq_chaos.checkers.answer import answer, milliseconds
from leaseq_chaos.checkers.faults import Calendar, faults_of
from leaseq_chaos.checkers.index import EARLY, LATE, Index, Op, Step, index, no_commits
from leaseq_chaos.evidence import Evidence
from leaseq_chaos.history import Kind
from leaseq_chaos.verdict import Finding, Violation

__all__ = ["check"]

# The nemeses under which Postgres may have written a commit and shows it later.
_SLOWING = re.compile(r"(freeze|restart|fill)-postgres|kill-backend|failover-|lose-standby")

INVARIANT = "Each read of a task was true during the read, and reads never go back."


def check(evidence: Evidence) -> Finding:
    """Place each read among the versions of its task."""
    found = index(evidence)
    slow = Calendar([fault for fault in faults_of(evidence) if _SLOWING.search(fault.nemesis)])
    answered = {
        task: [op for op in ops if op.kind is Kind.OK]
        for task, ops in found.of_task("read").items()
    }
    return answer(
        "reads",
        INVARIANT,
        missing=no_commits(found),
        said=f"{sum(map(len, answered.values())):,} reads of {len(answered):,} tasks were placed among the commits",
        violations=[
            violation
            for task, ops in answered.items()
            for violation in _task(found, task, ops, slow)
        ],
        facts={"reads": sum(map(len, answered.values())), "tasks read": len(answered)},
    )


def _task(found: Index, task: str, reads: Sequence[Op], slow: Calendar) -> Iterator[Violation]:
    steps = found.lives.get(task, [])
    versions: dict[tuple[str, int], list[int]] = {}
    for place, step in enumerate(steps):
        versions.setdefault((step.state, step.attempt), []).append(place)
    seen = _Seen()
    for op in sorted(reads, key=lambda op: op.began):
        floor, by = seen.before(op.began)
        if op.told not in (None, task):
            yield Violation(
                f"{op.process} asked for this task and was answered about {op.told}", task, op.ended
            )
            continue
        if _of_old(found, task, op):
            continue
        what = f"{op.process} read {op.heard.get('state')}, attempt {op.heard.get('attempt')}"
        places = versions.get((str(op.heard.get("state")), int(op.heard.get("attempt") or 0)), [])
        open_ones = places[bisect_left(places, floor) :]
        fits = next((place for place in open_ones if _current(steps, place, op, slow)), None)
        if fits is not None:
            seen.note(op.ended or 0, fits, op)
        elif not places:
            yield Violation(f"{what}, which it never was", task, op.began)
        elif not open_ones and by is not None:
            then = f"{by.heard.get('state')}, attempt {by.heard.get('attempt')}"
            later = milliseconds(op.began - (by.ended or 0))
            yield Violation(f"{what}, {later} after {by.process} had read {then}", task, op.began)
        else:
            yield Violation(
                f"{what}, which it was not between question and answer{_when(steps, places, op)}",
                task,
                op.began,
            )


def _of_old(found: Index, task: str, op: Op) -> bool:
    """Is this what a former primary had, asked while it could be? It knows what it lost, and
    nothing of what came after it."""
    old = found.lost.asked(op.began, op.ended)
    if old is None:
        return False
    version = (str(op.heard.get("state")), int(op.heard.get("attempt") or 0))
    if (task, *version) in found.lost.seen:
        return True
    before = [step for step in found.lives.get(task, []) if step.lsn <= old.branched]
    return bool(before) and (before[-1].state, before[-1].attempt) == version


class _Seen:
    """The newest version that any read which had ended by some time has seen. Noted in order of
    beginning, asked likewise."""

    def __init__(self) -> None:
        self._ends: list[int] = []
        self._reads: list[tuple[int, Op]] = []

    def note(self, ended: int, place: int, op: Op) -> None:
        at = bisect_right(self._ends, ended)
        self._ends.insert(at, ended)
        self._reads.insert(at, (place, op))

    def before(self, began: int) -> tuple[int, Op | None]:
        done = self._reads[: bisect_left(self._ends, began)]
        return max(done, key=lambda read: read[0], default=(0, None))


def _current(steps: Sequence[Step], place: int, op: Op, slow: Calendar) -> bool:
    """Can this version have been what a reader saw, at some moment of this read?"""
    if op.ended is not None and op.ended < steps[place].at - EARLY:
        return False
    return place + 1 == len(steps) or op.began <= _seen_by_all(steps, place + 1, slow)


def _seen_by_all(steps: Sequence[Step], place: int, slow: Calendar) -> int:
    """The time from which every reader sees this version. The next version waited for its row, so
    it was visible by then."""
    at = steps[place].at
    late = max([at, *(fault.ended for fault in slow.open_in(at - LATE, at + LATE))]) + LATE
    return min(late, steps[place + 1].at + EARLY) if place + 1 < len(steps) else late


def _when(steps: Sequence[Step], places: Sequence[int], op: Op) -> str:
    place = places[-1]
    if op.ended is not None and steps[place].at > op.ended:
        return f": it became so {milliseconds(steps[place].at - op.ended)} later"
    if place + 1 < len(steps):
        return f": it had ceased to be so {milliseconds(op.began - steps[place + 1].at)} before"
    return ""
