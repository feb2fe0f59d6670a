"""Check that each occurrence of a schedule is one task (I34, I35).

No occurrence has two tasks, by the time and the schedule that its task names (I34). The schedules of a
run fire at an interval and catch up with everything. So each time from their first one up to the next
time that they had at their end has one task, whether it came in time or late (I35). A schedule that
lives until all faults are healed has a next time that is not in the past.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from leaseq_chaos.checkers.answer import answer
from leaseq_chaos.checkers.index import Index, index, no_commits
from leaseq_chaos.evidence import Evidence
from leaseq_chaos.verdict import Finding, Violation

__all__ = ["check"]

INVARIANT = "Each occurrence of a schedule becomes exactly one task."

# A schedule that no reaper fires is late by more than this when it is deleted.
LATE_SECONDS = 10.0


class _Life(Struct):
    """A schedule: its first time, its next time at the end, and its own count of missed ones."""

    every: float
    first: datetime
    next: datetime
    missed: int
    deleted: int | None = None


def check(evidence: Evidence) -> Finding:
    """Compare the times of each schedule with its tasks."""
    found = index(evidence)
    fired = evidence.snapshot.fired
    lives = dict(_lives(found))
    made = Counter((row["schedule"], _time(row["at"])) for row in fired or [])
    missing = no_commits(found)
    if missing is None and fired is None:
        missing = "the tasks of schedules were not read"
    return answer(
        "occurrences",
        INVARIANT,
        missing=missing,
        said=f"{sum(made.values()):,} tasks of {len(lives):,} schedules were compared with their times"
        if lives
        else "there was no schedule",
        violations=[*_twice(made), *_not_fired(lives, made), *_late(evidence, lives)],
        facts={"schedules": len(lives), "tasks of schedules": sum(made.values())},
    )


def _lives(found: Index) -> Iterator[tuple[str, _Life]]:
    lives: dict[str, _Life] = {}
    for placed in found.tables.get("schedules", []):
        commit, name = placed.commit, str(placed.commit.row["name"])
        if commit.verb == "delete":
            if name in lives:
                lives[name].deleted = commit.at
            continue
        row = commit.row
        if row.get("next_at") is None or row.get("every_seconds") is None:
            continue
        life = lives.get(name)
        if life is None:
            life = lives[name] = _Life(
                float(row["every_seconds"]), _time(row["next_at"]), _time(row["next_at"]), 0
            )
        life.next = _time(row["next_at"])
        life.missed = int(row["missed"])
    yield from lives.items()


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _twice(made: Counter[tuple[str, datetime]]) -> Iterator[Violation]:
    for (name, at), count in made.items():
        if count > 1:
            yield Violation(f"schedule {name} has {count} tasks for {at.isoformat()}")


def _not_fired(lives: dict[str, _Life], made: Counter[tuple[str, datetime]]) -> Iterator[Violation]:
    for name, life in lives.items():
        at = life.first
        while at < life.next:
            if not made[name, at]:
                yield Violation(f"schedule {name} has no task for {at.isoformat()}")
            at += timedelta(seconds=life.every)
        if life.missed:
            yield Violation(f"schedule {name} counts {life.missed} missed occurrences")


def _late(evidence: Evidence, lives: dict[str, _Life]) -> Iterator[Violation]:
    """Schedules are deleted after the heal; then their next time is near."""
    wall = evidence.run.wall_offset
    for name, life in lives.items():
        if life.deleted is None or not wall:
            continue
        late = (life.deleted + wall) / 1e9 - life.next.timestamp()
        if late > LATE_SECONDS * max(1.0, evidence.run.slowness):
            yield Violation(f"schedule {name} was {late:.0f} s late when it was deleted")
