"""Estimate when a waiting task begins.

The estimate rests on the position of the task and on the pace of its queue. The position counts the
deliveries before the task in its own lane, those in more urgent lanes, and the part of the backlog
before it. The pace is that of the last minute. A pace without enough evidence gives no estimate.
"""

from __future__ import annotations

from math import isfinite

from msgspec import Struct

from leaseq.ledger.task_facts import Pace
from leaseq.model import Lane
from leaseq.operations.why.facts import Facts
from leaseq.operations.why.wording import span

# A pace is known after so many beginnings, over at least so many seconds.
FEWEST = 10
SHORTEST_SECONDS = 0.2
# Without a beginning for so long the queue counts as standing.
STANDING_SECONDS = 10.0
# One half of the time with so many times as many beginnings as the other is called unsteady.
UNSTEADY = 2.0

URGENCY = (Lane.HIGH, Lane.NORMAL, Lane.LOW)


class Estimate(Struct, frozen=True):
    """In how many seconds a task begins, about."""

    seconds: float
    is_steady: bool

    @property
    def text(self) -> str:
        """`in about 42 s`, and whether the pace is steady."""
        unsteady = "" if self.is_steady else " (the pace is unsteady)"
        return f"in about {span(self.seconds)}{unsteady}"


def before(facts: Facts) -> int | None:
    """How many tasks begin before this one; None where that is not known."""
    dispatch = facts.dispatch
    if dispatch is None or facts.lane not in URGENCY:
        return None
    urgent = URGENCY[: URGENCY.index(facts.lane)]
    if any(lane in dispatch.backlogs for lane in urgent):
        return None  # of unknown length
    ahead = sum(dispatch.lengths.get(lane, 0) for lane in urgent)
    place = dispatch.place
    if place is not None:
        return None if place.before is None else ahead + place.before
    counted = facts.backlog_before
    if counted is None:
        return None
    return ahead + dispatch.lengths.get(facts.lane, 0) + counted.count


def per_second(pace: Pace | None) -> float | None:
    """The tasks of the queue that begin in a second; None without enough evidence."""
    if pace is None or pace.count < FEWEST or not pace.span >= SHORTEST_SECONDS:
        return None
    if pace.since_last > STANDING_SECONDS or not isfinite(pace.span):
        return None
    return pace.count / pace.span


def estimate(facts: Facts) -> Estimate | None:
    """When the task begins, or None."""
    ahead, rate, pace = before(facts), per_second(facts.pace), facts.pace
    if ahead is None or rate is None or pace is None:
        return None
    older = pace.count - pace.newer
    steady = older <= UNSTEADY * pace.newer and pace.newer <= UNSTEADY * older
    return Estimate((ahead + 1) / rate, steady)


__all__ = ["Estimate", "before", "estimate", "per_second"]
